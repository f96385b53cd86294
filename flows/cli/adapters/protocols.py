"""Commands for two protocols of the field: base-to-new generalisation, and classes that come in sessions."""

from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_types import Ge

from evenly.flows.cli.adapters.options import Guard
from evenly.flows.cli.command import typed
from evenly.flows.cli.output import interval, print_rows, print_text
from evenly.signatures import Named

Normalise = Annotated[bool, Named("--normalise"), "Scale the rows to unit length."]


def base_to_new_command(
    files: Annotated[list[Path], typer.Argument(help="Files of features, one per data set.")],
    adapter: Annotated[str, "The adapter's name."] = "gda_base_to_new",
    parameter: Annotated[list[str] | None, Named("--param"), "name=value; may be repeated."] = None,
    *,
    normalise: Normalise = False,
    guard: Guard = True,
) -> dict[str, Any]:
    """Fit on the first half of the classes, judge that half and the other apart; both harmonic means, named.

    Example: evenly base-to-new digits.npz --adapter gda_base_to_new
    """
    from evenly.flows.cli.adapters.protocol_runs import base_to_new as run

    return run(files, adapter=adapter, parameters=parameter or (), normalise=normalise, guard=guard)


def _print_base_to_new(result: dict[str, Any]) -> None:
    names = {name: name for name in ("data_set", "base", "new", "harmonic_mean")}
    columns = names | {name: interval(name) for name in ("base", "new")}
    print_rows(f"base to new, {result['adapter']}: accuracy with 95 % intervals", result["data_sets"], columns)
    print_text(f"mean of the harmonic means {result['mean_of_harmonic_means']:.4f}")
    print_text(f"harmonic mean of the averages {result['harmonic_mean_of_averages']:.4f}")
    kept = [row["data_set"] for row in result["data_sets"] if row["kept_zero_shot"]]
    if kept:
        print_text(f"zero-shot kept, validation shows no gain: {', '.join(kept)}")
    for row in result["data_sets"]:
        for note in row["notes"]:
            print_text(f"note: {row['data_set']}: {note}")


def sessions_command(
    file: Annotated[Path, typer.Argument(help="A file of features.")],
    first: Annotated[int, Ge(1), "Classes of the first session."] = 60,
    step: Annotated[int, Ge(1), "Classes of each later one."] = 5,
    alpha: Annotated[float, Ge(0), "Weight of the evidence; not searched."] = 1.0,
    *,
    normalise: Normalise = False,
) -> dict[str, Any]:
    """Learn classes session by session with incremental GDA: accuracy over the classes seen, average, drop.

    Example: evenly sessions digits.npz --first 4 --step 2
    """
    from evenly.flows.cli.adapters.protocol_runs import sessions as run

    return run(file, first=first, step=step, alpha=alpha, normalise=normalise)


def _print_sessions(result: dict[str, Any]) -> None:
    names = {name: name for name in ("session", "classes", "rows", "accuracy", "old", "new")}
    columns = names | {"accuracy": interval("accuracy")}
    print_rows("accuracy over the classes seen so far, with 95 % intervals", result["sessions"], columns)
    print_text(f"average {result['average']:.4f}, performance drop {result['performance_drop']:.4f}")
    for note in result["notes"]:
        print_text(f"note: {note}")


COMMANDS = {
    "base-to-new": typed(base_to_new_command, _print_base_to_new),
    "sessions": typed(sessions_command, _print_sessions),
}
