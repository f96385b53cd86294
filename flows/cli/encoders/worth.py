"""`evenly worth`: what each step of a recipe does for an encoder that is refined on what it keeps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.output import print_rows, print_text
from evenly.options import WorthOptions
from evenly.signatures import Place, flow_values, taking

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
    from evenly.flows.process.prefect_api import prefect_api
    from evenly.flows.recipe import read_recipe
    from evenly.storage.builds import open_build
    from evenly.storage.ledger import Ledger
    from evenly.storage.records import replace_json, replace_text
    from evenly.tasks.verify_and_report import report_of

    workspace, manifest = open_build(f"{read_recipe(recipe).name}-latest", root=options.root)
    values = flow_values(options)
    del values["out"]
    with prefect_api():
        measured = measure_worth(str(recipe), **values)
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
