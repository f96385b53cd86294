"""`evenly leaderboard`: every adapter over shots and seeds, on a recipe's latest build or on a file of features."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from evenly.adapters import adapter_name
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.leaderboard import Leaderboard, LeaderboardPlan, compare_adapters
from evenly.adapters.evaluation.protocols.leaderboard_runs import LeaderboardRun
from evenly.adapters.evaluation.tables import lost_on_test, recipe_remedy
from evenly.adapters.own_features.arrays import class_names_in, joined_parts, parts_in
from evenly.adapters.own_features.part_checks import LEFT_OUT
from evenly.adapters.training import row_keys
from evenly.audit.report.plots.leaderboard import draw_leaderboard
from evenly.flows.cli.adapters.options import LeaderboardOptions
from evenly.flows.cli.adapters.own_features.fit import plain
from evenly.flows.cli.adapters.own_features.towers import with_tower
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.class_rules import evaluation_rules
from evenly.flows.runs import run_in, workspace_run
from evenly.signatures import Place
from evenly.storage.artifacts.kinds import LeaderboardRuns
from evenly.storage.builds import Builds
from evenly.storage.files.arrays import read_arrays
from evenly.storage.records import content_hash, replace_json, replace_text
from evenly.storage.worker_pool import worker_pool
from evenly.tasks.adapters.fit import EVALUATE_ADAPTERS
from evenly.tasks.adapters.prompts import finish_prompts
from evenly.tasks.classes.selection import choice_in_words
from evenly.tasks.encoders import encoder_identity, second_identity
from evenly.tasks.labelled_rows import labelled_rows
from evenly.tasks.progress import Progress
from evenly.tasks.splits import twin_inputs

VERSION = 4
"""Raised when numbers of stored runs may not be used any longer."""


def recipe_leaderboards(recipe: Place, plan: LeaderboardPlan, options: LeaderboardOptions) -> list[dict[str, Any]]:
    """A leaderboard per class list of a recipe, on its latest build; under `out` in a folder of its name if several."""
    chosen = read_recipe(recipe)
    run = run_in(chosen, root=options.root)
    rules = list(evaluation_rules(run, chosen, recipe, "latest"))
    boards = []
    for rule in rules:
        manifest = Builds(run.workspace).read(rule.build)
        rows = labelled_rows(run, manifest, rule, adapters=plan.adapters)
        data = EvaluationData(
            features=rows.without_train_pool(),
            labels=rows.labels,
            split=rows.split,
            groups=rows.groups,
            classes=rows.classes,
            prototypes=rows.prototypes,
            keys=rows.pairs["uid"].to_pylist(),
        )
        parts = dict(zip(data.keys, rows.split.tolist(), strict=True))
        key = {
            "build": manifest["content_hash"],
            "rule": {name: value for name, value in EVALUATE_ADAPTERS.stored(rule).items() if name != "adapters"},
            "encoders": [encoder_identity(run), second_identity(run)],
            "split": content_hash(parts),
        }
        key |= twin_inputs(run.workspace, manifest)
        if run.views is not None:
            key["views"] = str(run.views)
        folder = run.workspace.reports / f"{rule.build}-{rule.list}-leaderboard"
        if options.out is not None:
            folder = options.out / rule.list if len(rules) > 1 else options.out
        runs = LeaderboardRuns(run.workspace.leaderboards, _key(key, plan))
        board = _compare(data, replace(plan, undrawn=True), runs, run.progress, options.workers, title=rule.list)
        boards.append(_write(replace(board, notes=(*choice_in_words(run, rule), *board.notes)), folder, rule.list))
    return boards


def array_leaderboard(arrays: Path, plan: LeaderboardPlan, options: LeaderboardOptions) -> dict[str, Any]:
    """A leaderboard on an .npz of features, as `evenly fit --arrays` reads it."""
    run = workspace_run(options.root)
    file_data = read_arrays(arrays, any_length=options.normalise)
    parts = parts_in(file_data, normalise=options.normalise)
    parts = with_tower(parts, file_data, plan.adapters, root=options.root)
    features, labels, split, groups = joined_parts(parts)
    keys = [f"{place} {key.hex()}" for place, key in _counted(row_keys(features.image))]
    data = EvaluationData(
        features=features,
        labels=labels,
        split=split,
        groups=groups,
        classes=class_names_in(file_data),
        prototypes={"prototypes": features.required_prototypes(adapter="leaderboard")},
        keys=keys,
    )
    hashes = {name: [key.hex() for key in row_keys(array.reshape(1, -1))] for name, array in file_data.items()}
    if left_out := [note for note in parts.notes if note.endswith(LEFT_OUT)]:
        hashes["left out"] = [content_hash(keys), *left_out]
    runs = LeaderboardRuns(run.workspace.leaderboards, _key(hashes, plan))
    board = _compare(data, plan, runs, run.progress, options.workers, title=arrays.stem)
    folder = options.out or arrays.with_name(f"{arrays.stem}-leaderboard")
    return _write(replace(board, notes=(*parts.notes, *board.notes)), folder, arrays.stem)


def _counted(keys: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each key with how often it came before: images of equal features get keys of their own."""
    counts: Counter[bytes] = Counter()
    for key in keys:
        yield counts[key], key
        counts[key] += 1


def _key(content: Mapping[str, Any], plan: LeaderboardPlan) -> dict[str, Any]:
    """All that a run's numbers depend on beside its own adapter, shots and seed."""
    return {"version": VERSION, "validation": plan.validation, "guard": plan.guard, "content": dict(content)}


def _compare(
    data: EvaluationData,
    plan: LeaderboardPlan,
    runs: LeaderboardRuns,
    progress: Progress,
    processes: int | None,
    *,
    title: str,
) -> Leaderboard:
    """The leaderboard, for which the runs that are not stored yet are made.

    Adapters are shared out over processes, each of which stores its runs; the table is then put together from these.
    """
    names = list(dict.fromkeys(adapter_name(name) for name in plan.adapters))
    shares = [replace(plan, adapters=(name,)) for name in names]
    workers = processes or os.cpu_count() or 1
    threads = 1 if workers > 1 else None
    with progress.bar(f"leaderboard {title}: adapters", len(shares)) as advance:
        if workers > 1 and len(shares) > 1:
            with worker_pool(workers) as pool:
                for finished in as_completed([pool.submit(_compete, data, share, runs, threads) for share in shares]):
                    finished.result()
                    advance(1)
        else:
            for share in shares:
                _compete(data, share, runs, threads)
                advance(1)
    return _compete(data, replace(plan, adapters=tuple(names)), runs, threads)


def _compete(data: EvaluationData, plan: LeaderboardPlan, runs: LeaderboardRuns, threads: int | None) -> Leaderboard:
    """The leaderboard of some adapters; what is stored is not made again, and what is made is stored at once."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    stored = (LeaderboardRun(row=row, correct=correct) for row, correct in runs.all())
    with threadpool_limits(limits=threads):
        board = compare_adapters(
            data,
            plan,
            done={run.key: run for run in stored},
            progress=lambda run, _finished, _all: runs.add(run.row, run.correct),
        )
    finish_prompts(data.features)
    return board


def _remedy(reason: str) -> str:
    """The remedy that brings the features that a reason names as missing."""
    return recipe_remedy(reason.partition("got none for")[2])


def _write(board: Leaderboard, out: Path, title: str) -> dict[str, Any]:
    rows = [{str(name): value for name, value in row.items()} for row in board.summary.to_dict("records")]
    result = {
        "title": title,
        "protocol": dict(board.protocol),
        "summary": rows,
        "skipped": [row | {"remedy": _remedy(row["reason"])} for row in board.skipped.to_dict("records")],
        "notes": list(board.notes),
        "below_zero_shot_on_validation": int((board.summary["validation_margin"] < 0).sum()),
        "lost_on_test": lost_on_test(rows),
        "below_zero_shot_on_test": int((board.summary["difference"] < 0).sum()),
        "surely_below_zero_shot_on_test": int((board.summary["difference_high"] < 0).sum()),
    }
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "leaderboard.csv", board.summary.to_csv(index=False))
    replace_text(out / "runs.csv", board.runs.to_csv(index=False))
    replace_text(out / "leaderboard.svg", draw_leaderboard(board.summary, title=title))
    replace_json(out / "leaderboard.json", plain(result))
    return {**plain(result), "out": str(out)}
