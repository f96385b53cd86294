"""The command that says what a build would be by other rules: what-if."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import print_rows, print_text, print_written
from evenly.signatures import Named, Place, Root

if TYPE_CHECKING:
    from evenly.audit.supposed import WhatIf


def what_if_command(
    recipe: Annotated[Place, typer.Argument(help="A recipe; its promoted build is judged again, or the newest.")],
    changes: Annotated[
        Sequence[str] | None,
        Named("--set", "FIELD=VALUE"),
        "A field below `curate` and its value; null: off.",
    ] = None,
    build: Annotated[str | None, "Another build of the recipe."] = None,
    curve: Annotated[
        str | None, Named(metavar="FIELD[=V,V]"), "Also pairs kept and the tail's share over values of a field."
    ] = None,
    sheet: Annotated[Path | None, Named(metavar="FILE.html"), "Write examples with pictures, and the curve."] = None,
    root: Root = None,
) -> dict[str, Any]:
    """Say what a rebuild by another `curate` would keep, by what is recorded: nothing is downloaded or encoded.

    By --set, or by the recipe where it differs from the build. Pairs that a step would have to look at are counted.

    Example: evenly what-if birds.yaml --set align.keep_top=0.5 --set balance.t=50000

    Example: evenly what-if birds.yaml --curve align.keep_top --sheet curve.html
    """
    from evenly.flows.recipe import what_if

    if sheet is not None and sheet.suffix.lower() != ".html":
        raise UsageError(f"`--sheet` must end with .html; got `{sheet}`. Correct it.")
    supposed = what_if.what_if(recipe, changes or [], build=build, root=root)
    field, rows = what_if.curve(recipe, changes or [], curve, build=build, root=root) if curve else ("", [])
    facts = supposed.to_dict() | ({"curve": {"field": field, "rows": rows}} if curve else {})
    if sheet is not None:
        _write_sheet(sheet, supposed, field, rows)
        facts["written"] = str(sheet)
    return facts


def _write_sheet(path: Path, supposed: "WhatIf", field: str, rows: Sequence[dict[str, Any]]) -> None:
    from evenly.audit.report.what_if import what_if_page
    from evenly.storage.records import replacing
    from evenly.storage.web.images import reader

    read_bytes = reader(supposed.ledger.workspace.downloads)
    page = what_if_page(supposed, read_bytes, field=field, curve=rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as stream:
        stream.write(page.encode())


def _print_supposed(facts: dict[str, Any]) -> None:
    changed = [step for step in facts["steps"] if step["before"] != step["after"] or step["unknown"]]
    if changed:
        print_rows(facts["build"], changed)
    for move, words in _MOVES.items():
        if facts[move]:
            print_rows(words, facts[move])
    lines = [f"{step}: {', '.join(fields)}" for step, fields in facts["rules"].items()] or ["no rule differs"]
    kept, bounds, balance = facts["kept"], facts["kept"]["bounds"], facts["balancing"]
    lines.append(
        f"build {facts['build']}: kept {kept['before']:,} -> {kept['after']:,}{_bounds(bounds, kept['after'])}"
    )
    if balance["before"] and balance["after"]:
        lines += [
            f"{words} {balance['before'][name]} -> {balance['after'][name]}"
            for name, words in (("expected", "pairs expected to stay"), ("tail_share", "share of the tail in matches"))
        ]
    if facts["stops"]:
        lines.append(f"{facts['stops']} would keep no pair, and a rebuild stop there")
    print_text("\n".join([*lines, *(step["words"] for step in facts["not_certain"])]))
    if "curve" in facts:
        print_rows(facts["curve"]["field"], facts["curve"]["rows"])
    print_written(facts)


_MOVES = {
    "enter": "pairs that enter, by where they had gone",
    "leave": "pairs that leave",
    "unknown": "pairs of which too little is recorded, by the step that would have to look",
}


def _bounds(bounds: dict[str, int] | None, kept: int) -> str:
    if bounds is None:
        return " of the pairs that are known"
    return "" if bounds["least"] == bounds["most"] == kept else f", {bounds['least']:,} to {bounds['most']:,}"


COMMANDS = {"what-if": typed(what_if_command, _print_supposed)}
