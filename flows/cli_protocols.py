"""Commands for two protocols of the field: base-to-new generalisation, and classes that come in sessions."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli_output import AsJson, print_json, print_rows, print_text

Normalise = Annotated[bool, typer.Option("--normalise", help="Scale the rows to unit length.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (base_to_new, sessions):
        app.command()(command)


def base_to_new(
    files: Annotated[list[Path], typer.Argument(help="Files of features, one per data set.")],
    adapter: Annotated[str, typer.Option(help="The adapter's name.")] = "gda_base_to_new",
    parameter: Annotated[list[str] | None, typer.Option("--param", help="name=value; may be repeated.")] = None,
    as_json: AsJson = False,
    *,
    normalise: Normalise = False,
    guard: Annotated[bool, typer.Option(help="Keep zero-shot where validation shows no gain.")] = True,
) -> None:
    """Fit on the first half of the classes, judge that half and the other apart; both harmonic means, named.

    Example: evenly base-to-new digits.npz --adapter gda_base_to_new
    """
    from flows.array_fitting import plain
    from flows.protocols import base_to_new as run

    result = plain(run(files, adapter=adapter, parameters=parameter or (), normalise=normalise, guard=guard))
    if as_json:
        print_json(result)
        return
    shown = ("data_set", "base", "base_low", "base_high", "new", "new_low", "new_high", "harmonic_mean")
    print_rows(
        f"base to new, {result['adapter']}", [{name: row[name] for name in shown} for row in result["data_sets"]]
    )
    print_text(f"mean of the harmonic means {result['mean_of_harmonic_means']:.4f}")
    print_text(f"harmonic mean of the averages {result['harmonic_mean_of_averages']:.4f}")


def sessions(
    file: Annotated[Path, typer.Argument(help="A file of features.")],
    first: Annotated[int, typer.Option(min=1, help="Classes of the first session.")] = 60,
    step: Annotated[int, typer.Option(min=1, help="Classes of each later one.")] = 5,
    alpha: Annotated[float, typer.Option(min=0, help="Weight of the evidence; not searched.")] = 1.0,
    as_json: AsJson = False,
    *,
    normalise: Normalise = False,
) -> None:
    """Learn classes session by session with incremental GDA: accuracy over the classes seen, average, drop.

    Example: evenly sessions digits.npz --first 4 --step 2
    """
    from flows.array_fitting import plain
    from flows.protocols import sessions as run

    result = plain(run(file, first=first, step=step, alpha=alpha, normalise=normalise))
    if as_json:
        print_json(result)
        return
    print_rows("sessions", result["sessions"])
    print_text(f"average {result['average']:.4f}, performance drop {result['performance_drop']:.4f}")
