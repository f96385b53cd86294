"""`evenly refine`, heads on a recipe's encoder; `worth`, what steps do for them; `tune`, what other settings would."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from evenly.flows.cli.output import Recipe, print_rows, print_text
from evenly.options import Also, RefineOptions, TuneOptions, WorthOptions
from evenly.signatures import Named, Place, flow_values, taking


@dataclass(frozen=True, kw_only=True)
class Refining(RefineOptions):
    """Options of `evenly.refine`."""

    plan: Annotated[bool, Named("--plan"), "Say what it would take, by two steps; keep nothing."] = False
    also: Also = ()


@dataclass(frozen=True, kw_only=True)
class NamedRefining(Refining):
    """Options of `evenly refine`."""

    out: Annotated[str, "The name of the refined encoder, for `features: {refine: NAME}`."]


@taking(Refining)
def refine_build(recipe: Place, name: str, options: Refining) -> dict[str, Any]:
    """Refine the encoder of a recipe on the pairs of a build, and say what that changed on pairs held out.

    `measures` are rows: measure, of, before, after, difference with its 95 % interval. With plan=True what it would
    take is measured by two steps. Raises InputError for options that do not go together and for a name that stands for
    an encoder made otherwise.
    """
    from evenly.features.refining.objectives import OBJECTIVES
    from evenly.flows.other_pictures import other_pictures
    from evenly.flows.recipe import read_recipe
    from evenly.flows.refine_encoder import open_refining, outside_measures, refine_encoder, training_of
    from evenly.flows.runs import as_flow
    from evenly.storage.builds import open_build
    from evenly.storage.files.identities import default_cache
    from evenly.storage.ledger import Ledger
    from evenly.tasks.refining.refine import plan_refining

    if options.build == "latest":
        options = replace(options, build=f"{read_recipe(recipe).name}-latest")
    workspace, manifest = open_build(options.build, root=options.root)
    training_of(options)  # what is wrong is said before a server starts
    pictures = other_pictures(default_cache(), options.also)
    if options.plan:
        return plan_refining(*open_refining(str(recipe), options))
    values = flow_values(options)
    del values["plan"], values["also"]
    key = as_flow(refine_encoder)(str(recipe), name, **values)
    ledger = Ledger(workspace)
    record = ledger.get(key)
    outside = outside_measures(str(recipe), name, options, pictures) if pictures else []
    return {
        "name": name,
        "build": manifest["build"],
        **record.notes,
        "gains": OBJECTIVES[options.objective.partition(",")[0]].gains and options.experts == 1,
        "measures": [*ledger.table(record, "measures").to_pylist(), *outside],
        "choice": ledger.table(record, "choice").to_pylist(),
    }


@taking(NamedRefining)
def refine_command(recipe: Recipe, options: NamedRefining) -> dict[str, Any]:
    """Refine the encoder of a recipe on the pairs of its latest build, and say what that changed on pairs held out.

    Example: evenly refine recipes/demo.yaml --objective contrastive --out demo-refined

    Example: evenly refine birds.yaml --towers 1 --batch-size 256 --out birds-tower
    """
    values = dict(vars(options))
    return refine_build(recipe, values.pop("out"), **values)


def _print_plan(plan: dict[str, Any]) -> None:
    pairs = ", ".join(f"{plan[f'{part}_pairs']:,} {part}" for part in ("train", "val", "test"))
    print_text(
        f"{pairs} pairs; {plan['parameters']:,} parameters, {plan['steps']:,} steps of {plan['step_s']:.2f} s, val of "
        f"{plan['val_s']:.2f} s four times an epoch: about {plan['total_s'] / 60:.1f} minutes"
    )


def print_refined(result: dict[str, Any]) -> None:
    """Print what refining changed, or what it would take."""
    if "measures" not in result:
        _print_plan(result)
        return
    print_text(f"{result['name']}: test pairs of {result['build']}; before, after, difference with its 95 % interval")
    measures = result["measures"]
    width = max((len(row["measure"]) for row in measures), default=0)
    for subject in dict.fromkeys(row["of"] for row in measures):
        print_text(subject)
        for row in (row for row in measures if row["of"] == subject):
            values = f"{_short(row['before']):>6} {_short(row['after']):>6}  {_difference(row)}"
            print_text(f"  {row['measure']:<{width}}  {values}")
    pairs = ", ".join(f"{result[f'{part}_pairs']:,} {part}" for part in ("train", "val", "test"))
    if result["strength"]:
        print_text(f"{pairs} pairs; epoch {result['epoch']} at strength {result['strength']:g}, chosen on val")
        if "noun_shift" in result:
            shifts = " and ".join(f"{_short(result[f'{of}_shift'])} ({of}s)" for of in ("noun", "picture"))
            print_text(f"frozen rows moved by {shifts}, mean 1 - cosine; held by weight {result['hold_weight']:.3g}")
        if not result["gains"]:
            print_text("no table of docs/refining.md shows what this does better than `contrastive` with one head")
        print_text(f"take it: `features: {{refine: {result['name']}}}` in the recipe")
    else:
        print_text(f"{pairs} pairs; the frozen encoder stays: nothing was better on val within the margin and the hold")


def _difference(row: dict[str, Any]) -> str:
    value, low, high = (row[name] for name in ("difference", "difference_low", "difference_high"))
    return _short(value, "+") if low is None else f"{_short(value, '+')} [{_short(low, '+')}, {_short(high, '+')}]"


def _short(value: float, sign: str = "") -> str:
    return re.sub(r"^([+-]?)0\.", r"\1.", f"{value:{sign}.3f}")


SHOWN = {
    "text to picture R@1": "R@1",
    "text to picture R@10": "R@10",
    "picture to text R@10": "back",
    "zero-shot": "zero-shot",
}
BY_KIND = "right caption before wrong"


@dataclass(frozen=True, kw_only=True)
class Worth(WorthOptions):
    """Options of `evenly worth`."""

    out: Annotated[Place | None, "The folder to write worth.csv and worth.json to."] = None


@taking(Worth)
def worth_of_steps(
    recipe: Annotated[Place, typer.Argument(help="A recipe; its latest build is the whole pipeline's.")],
    options: Worth,
) -> dict[str, Any]:
    """Say what the steps of a recipe are worth: heads are trained on builds of its pool without each in turn.

    Example: evenly worth recipes/demo.yaml --also photographs
    """
    import pandas as pd

    from evenly.flows.measure_worth import measure_worth
    from evenly.flows.recipe import read_recipe
    from evenly.flows.runs import as_flow
    from evenly.storage.builds import open_build
    from evenly.storage.ledger import Ledger
    from evenly.storage.records import replace_json, replace_text
    from evenly.tasks.verify_and_report import report_of

    workspace, manifest = open_build(f"{read_recipe(recipe).name}-latest", root=options.root)
    values = flow_values(options)
    del values["out"]
    measured = as_flow(measure_worth)(str(recipe), **values)
    ledger = Ledger(workspace)
    record = ledger.get(measured["step"])
    result = {
        "build": manifest["build"],
        "seeds": options.seeds,
        "trained": record.notes["trained"],
        "rows": ledger.table(record, "worth").to_pylist(),
        "skipped": measured["skipped"] | record.notes["skipped"],
    }
    folder = workspace.reports / f"{manifest['build']}-worth" if options.out is None else Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "worth.csv", pd.DataFrame(result["rows"]).to_csv(index=False))
    replace_json(folder / "worth.json", result)
    return {**result, "out": str(folder), "report": str(report_of(workspace, manifest)[0])}


def print_worth(result: dict[str, Any]) -> None:
    """A table for all pairs, each class list and all else that is judged, and one for kinds of wrong captions."""
    rows = result["rows"]
    for subject in dict.fromkeys(row["of"] for row in rows if row["measure"] in SHOWN):
        table = _table((row, SHOWN[row["measure"]]) for row in rows if row["of"] == subject and row["measure"] in SHOWN)
        print_rows(f"{result['build']}, {subject}: difference to the whole pipeline, 95 % intervals", table)
    by_kind = _table(((row, row["of"]) for row in rows if row["measure"] == BY_KIND), intervals=False)
    if by_kind:
        print_rows(f"{result['build']}, {BY_KIND}; *: the interval of the difference is without 0", by_kind)
    for name, reason in result["skipped"].items():
        print_text(f"{name}: not made. {reason}")
    print_text(f"{result['seeds']} seeds, {result['trained']:,} pairs each; all measures in {result['out']}/worth.csv")
    print_text(f"report: {result['report']}")


def _table(cells: Iterable[tuple[Mapping[str, Any], str]], *, intervals: bool = True) -> list[dict[str, Any]]:
    """A line per variant; each cell is a row of the worth table and its column."""
    table: dict[str, dict[str, Any]] = {}
    for row, column in cells:
        line = table.setdefault(row["pairs"], {"trained on": row["pairs"], "pairs": row["trained"]})
        line[column] = _cell(row, is_first=len(table) == 1, intervals=intervals)
    return list(table.values())


def _cell(row: Mapping[str, Any], *, is_first: bool, intervals: bool) -> str:
    value, low, high = (row[name] for name in ("value", "difference_low", "difference_high"))
    if is_first or low is None:
        return f"{value:.3f}"
    if not intervals:
        return f"{value:.3f}{'*' if low > 0 or high < 0 else ''}"
    return f"{value:.3f} [{low:+.3f}, {high:+.3f}]"


@dataclass(frozen=True, kw_only=True)
class RecipeTuning(TuneOptions):
    """Options of `evenly tune`."""

    tries: Annotated[Sequence[str], Named("--try", "FIELD=VALUES"), "A field below `curate` and values, with commas."]
    judge: Annotated[Literal["worth"], "What judges: heads trained on the pairs of each, as by `worth`."] = "worth"
    out: Annotated[Place | None, "The folder to write tune.csv and tune.json to."] = None


@taking(RecipeTuning)
def tune_settings(
    recipe: Annotated[Place, typer.Argument(help="A recipe; its promoted build is judged again by each setting.")],
    options: RecipeTuning,
) -> dict[str, Any]:
    """Say whether other settings of a recipe choose better pairs: heads are trained on what each would keep.

    Example: evenly tune recipes/demo.yaml --try align.keep_top=.5,.7 --try balance.t=4,12
    """
    import pandas as pd

    from evenly.flows.runs import as_flow
    from evenly.flows.tune_recipe import tune_recipe
    from evenly.storage.records import replace_json, replace_text
    from evenly.storage.workspace import Workspace

    values = flow_values(options)
    tries, out, _ = (values.pop(name) for name in ("tries", "out", "judge"))
    result = as_flow(tune_recipe)(str(recipe), list(tries), **values)
    folder = Workspace.at(options.root).reports / f"{result['build']}-tune" if out is None else Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "tune.csv", pd.DataFrame(result["rows"]).to_csv(index=False))
    replace_json(folder / "tune.json", result)
    return {**result, "out": str(folder)}


def print_tuned(result: dict[str, Any]) -> None:
    """A row for each setting, and the verdict."""
    print_rows(
        f"{result['build']}: share of held-out pairs that are found, difference to the recipe", _rows_shown(result)
    )
    for name, reason in result["skipped"].items():
        print_text(f"{name}: not judged. {reason}")
    print_text(f"{result['seeds']} seeds, at most {result['trained']:,} pairs each; written to {result['out']}")
    print_text(result["verdict"])


def _rows_shown(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows = list[dict[str, Any]]()
    for row in result["rows"]:
        cells = {"trained on": row["pairs"], "kept": row.get("kept"), "unknown": row.get("unknown")}
        cells |= {"there": row["available"], "pairs": row["trained"]}
        rows.append(cells | {"found": _cell(row, is_first=not rows, intervals=True)})
    return rows
