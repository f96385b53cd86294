"""`evenly tune`: which settings of a recipe make a better encoder, by what a build recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from evenly.flows.cli.output import print_rows, print_text
from evenly.options import TuneOptions
from evenly.signatures import Named, Place, flow_values, taking


@dataclass(frozen=True, kw_only=True)
class RecipeTuning(TuneOptions):
    """Options of `evenly tune`."""

    tries: Annotated[Sequence[str], Named("--try", "FIELD=VALUES"), "A field below `curate` and values, with commas."]
    judge: Annotated[Literal["worth"], "What judges: heads trained on the pairs of each, as by `worth`."] = "worth"
    out: Annotated[Place | None, "The folder to write tune.csv and tune.json to."] = None


@taking(RecipeTuning)
def tune_settings(
    recipe: Annotated[Place, typer.Argument(help="A recipe; its newest build is judged again by each setting.")],
    options: RecipeTuning,
) -> dict[str, Any]:
    """Say whether other settings of a recipe choose better pairs: heads are trained on what each would keep.

    Example: evenly tune recipes/demo.yaml --try align.keep_top=.5,.7 --try balance.t=4,12 --seeds 3
    """
    import pandas as pd

    from evenly.flows.process.prefect_api import prefect_api
    from evenly.flows.tune_recipe import tune_recipe
    from evenly.storage.records import replace_json, replace_text
    from evenly.storage.workspace import Workspace

    values = flow_values(options)
    tries, out, _ = (values.pop(name) for name in ("tries", "out", "judge"))
    with prefect_api():
        result = tune_recipe(str(recipe), list(tries), **values)
    folder = Workspace.at(options.root).reports / f"{result['build']}-tune" if out is None else Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "tune.csv", pd.DataFrame(result["rows"]).to_csv(index=False))
    replace_json(folder / "tune.json", result)
    return {**result, "out": str(folder)}


def print_tuned(result: dict[str, Any]) -> None:
    """A row for each setting, and the verdict."""
    print_rows(f"{result['build']}: share of held-out pairs that are found, difference to the recipe", _table(result))
    for name, reason in result["skipped"].items():
        print_text(f"{name}: not judged. {reason}")
    print_text(f"{result['seeds']} seeds, at most {result['trained']:,} pairs each; written to {result['out']}")
    print_text(result["verdict"])


def _table(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows = list[dict[str, Any]]()
    for row in result["rows"]:
        cells = {"trained on": row["pairs"], "kept": row.get("kept"), "unknown": row.get("unknown")}
        cells |= {"there": row["available"], "pairs": row["trained"]}
        for half in ("chooses", "tests"):
            value, low, high = (row[f"{half}_{name}"] for name in ("value", "difference_low", "difference_high"))
            is_first = not rows or low is None
            words = "" if value is None else f"{value:.3f}"
            cells[f"half that {half}"] = words if is_first else f"{words} [{low:+.3f}, {high:+.3f}]"
        rows.append(cells)
    return rows
