"""`evenly worth`: what each step of a recipe does for an encoder that is refined on what it keeps."""

from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.output import AsJson, Root, print_result, print_rows, print_text

SHOWN = {"text to picture R@10": "R@10", "picture to text R@10": "back", "zero-shot": "zero-shot"}


def worth_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe; its latest build is the whole pipeline's.")],
    root: Root = None,
    as_json: AsJson = False,
    seeds: Annotated[int, typer.Option(min=1, help="How often heads are trained on each.")] = 5,
    out: Annotated[Path | None, typer.Option(help="The folder to write worth.csv and worth.json to.")] = None,
) -> None:
    """Say what the steps of a recipe are worth: heads are trained on builds of its pool without each in turn.

    Example: evenly worth recipes/demo.yaml
    """
    import pandas as pd

    from evenly.flows.measure_worth import measure_worth
    from evenly.flows.process.prefect_api import prefect_api
    from evenly.flows.recipe import read_recipe
    from evenly.storage.builds import open_build
    from evenly.storage.records import replace_json, replace_text

    workspace, manifest = open_build(f"{read_recipe(recipe).name}-latest", root=root)
    with prefect_api():
        result = measure_worth(recipe=str(recipe), seeds=seeds, root=str(workspace.root))
    folder = out or workspace.reports / f"{manifest['build']}-worth"
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / "worth.csv", pd.DataFrame(result["rows"]).to_csv(index=False))
    replace_json(folder / "worth.json", result)
    result = {**result, "out": str(folder)}
    print_result(result, lambda: print_worth(result), as_json=as_json)


def print_worth(result: dict[str, Any]) -> None:
    """A table for all pairs and for each class list: the difference of each variant to the whole pipeline."""
    rows = result["rows"]
    for of in dict.fromkeys(row["of"] for row in rows):
        table: dict[str, dict[str, Any]] = {}
        for row in rows:
            if row["of"] == of and row["measure"] in SHOWN:
                line = table.setdefault(row["pairs"], {"trained on": row["pairs"], "pairs": row["trained"]})
                line[SHOWN[row["measure"]]] = _cell(row)
        print_rows(f"{result['build']}, {of}: difference to the whole pipeline, 95 % intervals", list(table.values()))
    for name, reason in result["skipped"].items():
        print_text(f"{name}: not made. {reason}")
    print_text(f"{result['seeds']} seeds, {result['trained']:,} pairs each; table in {result['out']}")


def _cell(row: dict[str, Any]) -> str:
    if row["pairs"] == "the whole pipeline" or row["difference_low"] is None:
        return f"{row['value']:.3f}"
    ends = f"{row['difference_low']:+.3f}, {row['difference_high']:+.3f}"
    return f"{row['value']:.3f} [{ends}]"
