"""Commands for two protocols of the field: base-to-new generalisation, and classes that come in sessions."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from evenly.flows.cli.output import AsJson, print_result, print_rows, print_text, with_interval

Normalise = Annotated[bool, typer.Option("--normalise", help="Scale the rows to unit length.")]


def base_to_new_command(
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
    from evenly.flows.cli.adapters.evaluation_tables import measured
    from evenly.flows.cli.adapters.own_features.fit import plain
    from evenly.flows.cli.adapters.protocol_runs import base_to_new as run

    result = plain(run(files, adapter=adapter, parameters=parameter or (), normalise=normalise, guard=guard))

    def table() -> None:
        print_rows(
            f"base to new, {result['adapter']}: accuracy with 95 % intervals",
            [
                {
                    "data_set": row["data_set"],
                    "base": measured(row, "base"),
                    "new": measured(row, "new"),
                    "harmonic_mean": row["harmonic_mean"],
                }
                for row in result["data_sets"]
            ],
        )
        print_text(f"mean of the harmonic means {result['mean_of_harmonic_means']:.4f}")
        print_text(f"harmonic mean of the averages {result['harmonic_mean_of_averages']:.4f}")
        kept = [row["data_set"] for row in result["data_sets"] if row["kept_zero_shot"]]
        if kept:
            print_text(f"zero-shot kept, validation shows no gain: {', '.join(kept)}")
        for row in result["data_sets"]:
            for note in row["notes"]:
                print_text(f"note: {row['data_set']}: {note}")

    print_result(result, table, as_json=as_json)


def sessions_command(
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
    from evenly.flows.cli.adapters.own_features.fit import plain
    from evenly.flows.cli.adapters.protocol_runs import sessions as run

    result = plain(run(file, first=first, step=step, alpha=alpha, normalise=normalise))

    def table() -> None:
        print_rows(
            "accuracy over the classes seen so far, with 95 % intervals",
            [
                {
                    "session": row["session"],
                    "classes": row["classes"],
                    "rows": row["rows"],
                    "accuracy": with_interval(row["accuracy"], row["low"], row["high"]),
                    "old": row["old"],
                    "new": row["new"],
                }
                for row in result["sessions"]
            ],
        )
        print_text(f"average {result['average']:.4f}, performance drop {result['performance_drop']:.4f}")
        for note in result["notes"]:
            print_text(f"note: {note}")

    print_result(result, table, as_json=as_json)


COMMANDS: dict[str, Callable[..., None]] = {"base-to-new": base_to_new_command, "sessions": sessions_command}
