"""Leaderboards: all adapters over shots and seeds on one fixed split.

Runs, their means over seeds with intervals over test groups and seeds, and what could not run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters import ADAPTERS, adapter_name
from evenly.adapters.contract import check_positive
from evenly.adapters.errors import MissingFeaturesError, ParameterError, SplitError
from evenly.adapters.evaluation.measures.bootstrap import LEVEL, REPLICATES, percentile_interval, resampled_means
from evenly.adapters.evaluation.protocols.evaluation_data import EvaluationData
from evenly.adapters.evaluation.protocols.leaderboard_runs import (
    COOP_VALIDATION_SHOTS,
    Arena,
    LeaderboardRun,
    RunKey,
    Validation,
)
from evenly.adapters.features import Booleans, Floats

SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)
INTERVALS = (
    f"{LEVEL:.0%} percentile intervals from {REPLICATES} resamples: each draws test groups with replacement and, apart "
    "from them, seeds with replacement, and averages over the drawn seeds; all adapters share the draws, so that "
    "differences are paired. They are not widened for the number of adapters compared. Few seeds understate how much "
    "the draw of the shots matters; one seed leaves it out."
)
_MEANS = ("top5", "mean_per_class", "calibration_error", "validation_accuracy")
_COLUMNS = (
    "name", "texts", "shots", "accuracy", "low", "high", "seed_deviation", "difference", "difference_low",
    "difference_high", *_MEANS, "validation_margin", "kept_zero_shot", "seeds", "runs", "seconds",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaderboard:
    """The result of `compare_adapters`.

    `runs`: one row per adapter, texts, shots and seed; the columns of `LeaderboardRun.row`, and run_shots, run_seed:
    the key of the run behind the row, shared by rows whose run does not depend on the shots. `summary`: one row per
    adapter, texts and shots, see `summarise_runs`. `skipped`: name, texts and reason of what lacked features.
    `correct`: per run, whether each test row (in the order of the input) was predicted right. `protocol`: how it was
    done, plain values. `notes`: sentences on draws that fell short and on classes without test rows.
    """

    runs: pd.DataFrame
    summary: pd.DataFrame
    skipped: pd.DataFrame
    correct: Mapping[RunKey, Booleans]
    protocol: Mapping[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LeaderboardPlan:
    """The plan of a leaderboard: adapters, shots and seeds, and how validation rows and pools are taken.

    A seed also seeds the training of adapters that have one. `validation`: "coop", min(shots, 4) val rows per class,
    drawn by seed, or "full", all of them; `guard` as in `tune`; `undrawn` as in Arena.
    """

    adapters: Sequence[str] = tuple(ADAPTERS)
    shots: Sequence[int] = SHOTS
    seeds: Sequence[int] = SEEDS
    validation: Validation = "coop"
    guard: bool = True
    undrawn: bool = False
    bootstrap_seed: int = 0


def compare_adapters(
    data: EvaluationData,
    plan: LeaderboardPlan,
    *,
    done: Mapping[RunKey, LeaderboardRun] | None = None,
    progress: Callable[[LeaderboardRun, int, int], None] | None = None,
) -> Leaderboard:
    """Fit each adapter on draws of the train rows, tune it on val rows, judge each fit once on the same test rows.

    zero_shot with the first texts is always there, as the baseline. Runs in `done` are not made again; `progress` gets
    each new run as it ends, with the number of runs finished and of all: store it there and hand it in as `done` to go
    on after an interruption.
    """
    arena = Arena(data=data, validation=plan.validation, guard=plan.guard, undrawn=plan.undrawn)
    shots, seeds = plan.shots, plan.seeds
    names = tuple(dict.fromkeys(("zero_shot", *(adapter_name(name) for name in plan.adapters))))
    cells = _cells(arena, names, _checked(shots, "shots"), _checked(seeds, "seeds"))
    finished, skipped = _run_all(arena, list(dict.fromkeys(cells.values())), done or {}, progress)
    rows = [
        {**finished[key].row, "shots": shot, "seed": seed, "run_shots": key.shots, "run_seed": key.seed}
        for (_, _, shot, seed), key in cells.items()
        if key in finished
    ]
    runs = _numbers(pd.DataFrame(rows))
    correct = {key: run.correct for key, run in finished.items()}
    return Leaderboard(
        runs=runs,
        summary=summarise_runs(
            runs, correct, data.groups[arena.test], baseline=("zero_shot", data.baseline), seed=plan.bootstrap_seed
        ),
        skipped=pd.DataFrame(
            [{"name": name, "texts": texts, "reason": reason} for (name, texts), reason in skipped.items()],
            columns=["name", "texts", "reason"],
        ),
        correct=correct,
        protocol=_protocol(arena, shots, seeds),
        notes=_notes(arena, shots, seeds),
    )


def _cells(arena: Arena, names: Sequence[str], shots: Sequence[int], seeds: Sequence[int]) -> dict[RunKey, RunKey]:
    """The run that stands for each adapter, texts, shots and seed."""
    return {
        RunKey(name, texts, shot, seed): arena.key(name, texts, shot, seed)
        for name in names
        for texts in arena.texts_of(name)
        for shot in shots
        for seed in seeds
    }


def _run_all(
    arena: Arena,
    keys: Sequence[RunKey],
    done: Mapping[RunKey, LeaderboardRun],
    progress: Callable[[LeaderboardRun, int, int], None] | None,
) -> tuple[dict[RunKey, LeaderboardRun], dict[tuple[str, str], str]]:
    """Every run that can be made, and per name and texts why the others cannot."""
    pairs = dict.fromkeys((key.name, key.texts) for key in keys)
    skipped = {pair: reason for pair in pairs if (reason := arena.missing(*pair))}
    finished = {key: _checked_run(done[key], arena) for key in keys if key in done and key[:2] not in skipped}
    for key in keys:
        if key in finished or key[:2] in skipped:
            continue
        try:
            finished[key] = arena.run(key)
        except MissingFeaturesError as error:
            skipped[key.name, key.texts] = str(error)
            continue
        if progress is not None:
            progress(finished[key], len(finished), sum(planned[:2] not in skipped for planned in keys))
    return {key: finished[key] for key in keys if key in finished and key[:2] not in skipped}, skipped


def _checked_run(run: LeaderboardRun, arena: Arena) -> LeaderboardRun:
    if run.correct.shape != arena.test.shape:
        raise SplitError(
            f"`done` must hold runs on these {len(arena.test)} test rows; got {len(run.correct)} for {tuple(run.key)}. "
            "Leave out the runs of another split."
        )
    return run


def _checked(values: Sequence[int], name: str) -> list[int]:
    if not values:
        raise ParameterError(f"`{name}` must hold at least one number; got none. Add one.")
    for value in values:
        check_positive(name, value, integer=True, or_zero=name == "seeds")
    return list(dict.fromkeys(int(value) for value in values))


def _numbers(runs: pd.DataFrame) -> pd.DataFrame:
    """The columns of numbers as floats, so that None is NaN."""
    names = ["validation_accuracy", "zero_shot_validation_accuracy"]
    return runs.astype(dict.fromkeys(names, np.float64))


def _protocol(arena: Arena, shots: Sequence[int], seeds: Sequence[int]) -> dict[str, Any]:
    limit = COOP_VALIDATION_SHOTS
    few = "where these are few, and for what learns from no labelled row, the drawn train rows judge as well"
    words = {"coop": f"min(shots, {limit}) val rows per class, drawn by seed; {few}", "full": "all val rows"}
    return {
        "shots": [int(value) for value in shots],
        "seeds": [int(value) for value in seeds],
        "validation": arena.validation,
        "validation_in_words": words[arena.validation],
        "guard": arena.guard,
        "baseline": f"zero_shot with {arena.data.baseline}",
        "texts": list(arena.data.prototypes),
        "unlabelled": _pool_in_words(arena),
        "classes": len(arena.data.classes),
        "train_pool": len(arena.data.rows("train")),
        "validation_pool": len(arena.data.rows("val")),
        "test_rows": len(arena.test),
        "test_groups": len(np.unique(arena.data.groups[arena.test])),
        "intervals": INTERVALS,
    }


def _pool_in_words(arena: Arena) -> str:
    pool = arena.data.features.unlabelled
    n_pool = 0 if pool is None else len(pool)
    if not arena.pools_undrawn:
        return f"a pool of {n_pool} images"
    undrawn = "the train rows that were not drawn, without their labels"
    return f"{undrawn}, and {n_pool} images without a label" if n_pool else undrawn


def _notes(arena: Arena, shots: Sequence[int], seeds: Sequence[int]) -> tuple[str, ...]:
    """Notes on what the draws lack (the counts are those of every seed), and on classes without a test row."""
    sentences = [f"train, {shot} shots: {note}" for shot in shots for note in arena.draw("train", shot, seeds[0]).notes]
    if arena.validation == "coop":
        for shot in dict.fromkeys(min(shot, COOP_VALIDATION_SHOTS) for shot in shots):
            sentences += [f"validation, {shot} per class: {note}" for note in arena.draw("val", shot, seeds[0]).notes]
    absent = np.setdiff1d(np.arange(len(arena.data.classes)), arena.data.labels[arena.test])
    if len(absent):
        n_classes = len(arena.data.classes)
        sentences.append(f"{len(absent)} of {n_classes} classes have no test rows: nothing is shown of them")
    return tuple(sentences)


def summarise_runs(
    cells: pd.DataFrame,
    correct: Mapping[RunKey, Booleans],
    groups: npt.NDArray[Any],
    *,
    baseline: tuple[str, str],
    seed: int = 0,
) -> pd.DataFrame:
    """One row per adapter, texts and shots, in the order of `cells`; `baseline` is (name, texts) of the reference.

    accuracy (mean over seeds), low, high, seed_deviation (standard deviation over seeds, NaN for one); difference,
    difference_low, difference_high (accuracy minus the baseline's, paired); means over seeds of top5, mean_per_class,
    calibration_error, validation_accuracy; validation_margin (smallest validation accuracy minus zero-shot's over the
    seeds: at least 0 under the guard); kept_zero_shot (seeds that kept zero-shot), seeds, runs (distinct ones),
    seconds (per run). `groups` (test rows,). Intervals: INTERVALS; NaN with fewer than two groups.
    """
    right = np.stack([run.astype(np.float32) for run in correct.values()], axis=1)
    resampled = resampled_means(right, seed=seed, groups=groups)
    column = {key: place for place, key in enumerate(correct)}
    rows, replicates = [], {}
    for (name, texts, shots), cell in cells.groupby(["name", "texts", "shots"], sort=False):
        runs = [column[_run_of(row)] for _, row in cell.iterrows()]
        replicates[name, texts, shots] = _over_seeds(resampled[:, runs], seed=seed)
        rows.append({"name": name, "texts": texts, "shots": shots} | _means(cell, runs=len(set(runs))))
    accuracy = {(row["name"], row["texts"], row["shots"]): row["accuracy"] for row in rows}
    for row, cell_replicates in zip(rows, replicates.values(), strict=True):
        reference = (*baseline, row["shots"])
        _, row["low"], row["high"] = percentile_interval(row["accuracy"], cell_replicates)
        gain = percentile_interval(row["accuracy"] - accuracy[reference], cell_replicates - replicates[reference])
        row["difference"], row["difference_low"], row["difference_high"] = gain
    return pd.DataFrame(rows)[list(_COLUMNS)]


def _run_of(row: "pd.Series[Any]") -> RunKey:
    return RunKey(row["name"], row["texts"], row["run_shots"], row["run_seed"])


def _over_seeds(resampled: Floats, *, seed: int) -> Floats:
    """Accuracies (n, s) of the runs of s seeds to their mean (n,) over s seeds drawn with replacement."""
    drawn = np.random.default_rng([seed, 1]).integers(resampled.shape[1], size=resampled.shape)
    return np.asarray(np.take_along_axis(resampled, drawn, axis=1).mean(axis=1))


def _means(cell: pd.DataFrame, *, runs: int) -> dict[str, Any]:
    """Figures without resampling, over the seeds of one cell."""
    return {
        "accuracy": cell["accuracy"].mean(),
        "seed_deviation": cell["accuracy"].std(),
        **{name: cell[name].mean() for name in _MEANS},
        "validation_margin": (cell["validation_accuracy"] - cell["zero_shot_validation_accuracy"]).min(),
        "kept_zero_shot": int(cell["kept_zero_shot"].sum()),
        "seeds": len(cell),
        "runs": runs,
        "seconds": cell["seconds"].mean(),
    }
