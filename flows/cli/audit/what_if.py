"""The command that says what a build would be by other rules: what-if."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.output import print_rows, print_text
from evenly.signatures import Named, Place, Root


def what_if_command(
    recipe: Annotated[Place, typer.Argument(help="A recipe; its newest stored build is judged again.")],
    changes: Annotated[
        Sequence[str] | None, Named("--set", "FIELD=VALUE"), "A field below `curate` and its value; null leaves it out."
    ] = None,
    build: Annotated[str | None, "Another build of the recipe."] = None,
    root: Root = None,
) -> dict[str, Any]:
    """Say what a rebuild by another `curate` would keep, by what is recorded: nothing is downloaded or encoded.

    By --set, or by the recipe where it differs from the build. Pairs that a step would have to look at are counted.

    Example: evenly what-if birds.yaml --set align.keep_top=0.5 --set balance.t=50000
    """
    from evenly.flows.recipe.what_if import what_if

    return what_if(recipe, changes or [], build=build, root=root).to_dict()


def _print_supposed(facts: dict[str, Any]) -> None:
    changed = [step for step in facts["steps"] if step["before"] != step["after"] or step["unknown"]]
    if changed:
        print_rows(facts["build"], changed)
    for move, words in _MOVES.items():
        if facts[move]:
            print_rows(words, facts[move])
    lines = [f"{step}: {', '.join(fields)}" for step, fields in facts["rules"].items()] or ["no rule differs"]
    kept, bounds, balance = facts["kept"], facts["kept"]["bounds"], facts["balancing"]
    lines.append(f"kept {kept['before']:,} -> {kept['after']:,}{_bounds(bounds, kept['after'])}")
    if balance["before"] and balance["after"]:
        lines += [
            f"{words} {balance['before'][name]} -> {balance['after'][name]}"
            for name, words in (("expected", "pairs expected to stay"), ("tail_share", "share of the tail in matches"))
        ]
    if facts["stops"]:
        lines.append(f"{facts['stops']} would keep no pair, and a rebuild stop there")
    print_text("\n".join([*lines, *(step["words"] for step in facts["not_certain"])]))


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
