"""`evaluate --retrieval` and `leaderboard --encoder`: how encoders find pictures by captions, and the other way."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from evenly.adapters.evaluation.protocols.retrieval import judge_pairs
from evenly.adapters.own_features.arrays import pair_rows_in
from evenly.audit.report.plots.leaderboard import draw_encoders
from evenly.flows.cli.adapters.options import LeaderboardOptions
from evenly.flows.cli.adapters.own_features.fit import plain
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import Columns, Row, print_rows, print_text
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.class_rules import evaluation_rules
from evenly.flows.runs import build_run, run_in
from evenly.signatures import Place
from evenly.storage.builds import open_build
from evenly.storage.files.arrays import read_arrays
from evenly.storage.records import replace_json, replace_text
from evenly.tasks.adapters.probes import (
    MEASURE_RETRIEVAL,
    PairRetrievalRule,
    Part,
    PartOfList,
    retrieval_facts,
)
from evenly.tasks.run import EncoderChoice, Run
from evenly.tasks.stage import run_step


def recipe_retrieval(recipe: Place, *, pairs: int, part: str | None, root: Place | None) -> list[dict[str, Any]]:
    """Retrieval by the encoder of a recipe's latest build among its kept pairs, or in a part of each class list."""
    run, rules = _rules(recipe, pairs=pairs, part=part, root=root)
    return [retrieval_facts(run, run_step(run, MEASURE_RETRIEVAL, (), rule)) for rule in rules]


def array_retrieval(arrays: Path, *, part: str | None, normalise: bool) -> dict[str, Any]:
    """Retrieval by the rows of a file of features."""
    rows = pair_rows_in(read_arrays(arrays, required=(), any_length=normalise), part)
    facts = asdict(judge_pairs(rows, seed=0))
    of_part = {} if part is None else {"part": part}
    return plain({"arrays": str(arrays), **of_part, "pairs": len(rows.image), **facts})  # type: ignore[no-any-return]


def encoder_leaderboard(recipe: Place, encoders: Sequence[str], options: LeaderboardOptions) -> dict[str, Any]:
    """Encoders beside each other on the same pairs; table, plot and JSON lie in `out`."""
    choices = [read_encoder(named) for named in encoders]
    run, rules = _rules(recipe, pairs=options.pairs, part=options.part, root=options.root)
    boards = []
    for named, choice in zip(encoders, choices, strict=True):
        encoder_run = replace(run, encoder=choice, encoder_identity=None)
        boards += [
            {"encoder": named, **retrieval_facts(encoder_run, run_step(encoder_run, MEASURE_RETRIEVAL, (), rule))}
            for rule in rules
        ]
    rows = [
        {"encoder": board["encoder"], "list": board.get("list", ""), **row}
        for board in boards
        for row in board["directions"]
    ]
    folder = options.out or run.workspace.reports / f"{rules[0].build}-encoders"
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "encoders.csv", pd.DataFrame(rows).to_csv(index=False))
    for name in dict.fromkeys(row["list"] for row in rows):
        title = f"{rules[0].build}{f', {name}, {options.part}' if name else ''}"
        figure = draw_encoders([row for row in rows if row["list"] == name], title=title)
        replace_text(folder / f"encoders{f'-{name}' if name else ''}.svg", figure)
    result = {"build": rules[0].build, "encoders": boards, "out": str(folder)}
    replace_json(folder / "encoders.json", plain(result))
    return result


def read_encoder(named: str) -> EncoderChoice:
    """An encoder as people type it: `embedded refine=NAME`, `ViT-B-32 openai`, `ViT-B-32 openai bf16`."""
    from pydantic import TypeAdapter, ValidationError

    try:
        words = shlex.split(named)
        plain = [word for word in words if "=" not in word]
        fields = dict(zip(("model", "pretrained", "precision", "too many"), plain, strict=False))
        fields |= dict(word.split("=", 1) for word in words if "=" in word)
        return TypeAdapter(EncoderChoice).validate_python(fields)
    except (ValidationError, ValueError):
        raise UsageError(
            f"`--encoder` must be a model, its weights and fp32, bf16 or fp16, or further fields of `features` as "
            f'name=value; got `{named}`. Example: --encoder "ViT-B-32 openai bf16"'
        ) from None


def print_retrieval(boards: Sequence[dict[str, Any]]) -> None:
    """Print retrieval by an encoder, a table of directions for each part."""
    for facts in boards:
        source = facts.get("build", facts.get("arrays"))
        part = f", {facts['list']}, {facts['part']}" if "list" in facts else ""
        count = f"{facts['pairs']:,} of {facts['of']:,} pairs" if "of" in facts else f"{facts['pairs']:,} pairs"
        title = f"{source}{part}: {count}, 95 % intervals"
        print_rows(title, facts["directions"], {"direction": lambda row: _short(row["direction"]), **MEASURES})
        print_text(f"matched cosine {facts['matched_cosine']:.3f}, modality gap {facts['modality_gap']:.3f}")


def print_encoders(result: dict[str, Any]) -> None:
    """A table for each direction, a line for each encoder."""
    boards = result["encoders"]
    for direction in dict.fromkeys(row["direction"] for board in boards for row in board["directions"]):
        rows = [board | row for board in boards for row in board["directions"] if row["direction"] == direction]
        lists = {"list": "list"} if "list" in boards[0] else {}
        columns: Columns = {"encoder": "encoder", **lists, **MEASURES}
        print_rows(f"{result['build']}: {direction}, 95 % intervals", rows, columns)
    print_text(f"table and plot in {result['out']}")


def _short(direction: str) -> str:
    return direction.replace("picture of its ", "").replace("random text to picture", "random text")


def _interval(row: Row, name: str) -> str:
    numbers = (row[name], row[f"{name}_low"], row[f"{name}_high"])
    value, low, high = ("-" if number is None else f"{number:.3f}".removeprefix("0") for number in numbers)
    return f"{value} [{low}, {high}]"


MEASURES = {
    "R@1": lambda row: _interval(row, "r_at_1"),
    "R@10": lambda row: _interval(row, "r_at_10"),
    "AUC": lambda row: _interval(row, "auc"),
}
"""Columns that fit a terminal of 80 columns, as the directions' names do; all else is in --json."""


def _rules(recipe: Place, *, pairs: int, part: str | None, root: Place | None) -> tuple[Run, list[PairRetrievalRule]]:
    """The run with the encoder of the recipe's latest build, and what is measured."""
    chosen = read_recipe(recipe)
    workspace, manifest = open_build(f"{chosen.name}-latest", root=root)
    build = str(manifest["build"])
    run = build_run(build, root=str(workspace.root))
    if part is None:
        return run, [PairRetrievalRule(build=build, pairs=pairs)]
    lists = evaluation_rules(run_in(chosen, root=root), chosen, recipe, build)
    if not lists:
        raise UsageError(f"`--part` must be of a class list; `{recipe}` has no `classes`. Leave `--part` out.")
    parts = [PartOfList(list=rule.list, classes=rule.classes, split=rule.split, part=_part(part)) for rule in lists]
    return run, [PairRetrievalRule(build=build, pairs=pairs, part=of_list) for of_list in parts]


def _part(part: str) -> Part:
    if part in ("train", "val", "test"):
        return part  # type: ignore[return-value]
    raise UsageError(f"`--part` must be train, val or test; got `{part}`. Choose one.")
