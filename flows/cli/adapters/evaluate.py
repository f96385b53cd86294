"""Commands that judge adapters on test pictures: evaluate, probe."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.output import AsJson, Root, print_result, print_rows, print_text

Recipe = Annotated[Path, typer.Argument(help="A recipe; its latest build is used.")]
Out = Annotated[Path | None, typer.Option(help="The folder to write to.")]
Slices = Annotated[
    list[str] | None,
    typer.Option(
        "--slice",
        help="A column of the sample table: accuracy per value of it. Several with commas between are crossed. May be "
        "repeated.",
    ),
]


def evaluate_command(
    recipe: Recipe,
    root: Root = None,
    as_json: AsJson = False,
    slices: Slices = None,
    *,
    reject: Annotated[
        bool, typer.Option("--reject", help="Open-set H: reject pictures of no class by a threshold chosen on val.")
    ] = False,
    retrieval: Annotated[
        bool,
        typer.Option("--retrieval", help="The encoder: how it finds pictures by captions, captions by pictures."),
    ] = False,
    pairs: Annotated[int, typer.Option(min=2, help="With --retrieval: how many of the kept pairs.")] = 5000,
) -> None:
    """Evaluate the adapters of a recipe once on test data, with intervals and the difference to zero-shot.

    Example: evenly evaluate recipes/demo.yaml --slice width --slice label,source

    Example: evenly evaluate recipes/demo.yaml --retrieval
    """
    from evenly.flows.cli.adapters.evaluation import evaluate_latest, evaluate_retrieval

    if retrieval:
        measured = evaluate_retrieval(recipe, pairs=pairs, root=root)
        print_result(measured, lambda: _print_retrieval(measured), as_json=as_json)
        return

    result = evaluate_latest(recipe, root=root, slices=slices or ())

    def table() -> None:
        for facts in result["lists"]:
            from evenly.flows.cli.adapters.evaluation_tables import print_evaluation, print_rejection

            print_evaluation(facts)
            if reject:
                print_rejection(facts)

    print_result(result, table, as_json=as_json)


def _print_retrieval(facts: dict[str, Any]) -> None:
    rows = [
        {
            name: value if not isinstance(value, list) else "{} [{}, {}]".format(*map(_shown, value))
            for name, value in row.items()
        }
        for row in facts["directions"]
    ]
    print_rows(f"{facts['build']}: {facts['pairs']:,} of {facts['of']:,} pairs, 95 % intervals", rows)
    print_text(f"matched cosine {facts['matched_cosine']:.3f}, modality gap {facts['modality_gap']:.3f}")


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def probe_command(
    recipe: Recipe,
    root: Root = None,
    as_json: AsJson = False,
    out: Out = None,
    *,
    corruptions: Annotated[bool, typer.Option(help="Test pictures in twelve corruptions at five strengths.")] = True,
    diversity: Annotated[bool, typer.Option(help="Diversity of the pictures given their captions.")] = True,
    binding: Annotated[bool, typer.Option(help="Whether each of two objects gets its own colour.")] = True,
) -> None:
    """Probe the adapters of a recipe and its encoder: what corrupted pictures cost, what captions leave open.

    Example: evenly probe recipes/demo.yaml --no-diversity
    """
    from evenly.flows.cli.adapters.probe import probe_latest

    result = probe_latest(recipe, root=root, out=out, corruptions=corruptions, diversity=diversity, binding=binding)

    def table() -> None:
        from evenly.flows.cli.adapters.probe_tables import print_probes

        print_probes(result)

    print_result(result, table, as_json=as_json)


COMMANDS: dict[str, Callable[..., None]] = {"evaluate": evaluate_command, "probe": probe_command}
