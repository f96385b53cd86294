"""Commands about batches of requests to language models: batches, batches cancel."""

from typing import Annotated, Any

import typer

from evenly.flows.cli import CommandGroup
from evenly.flows.cli.command import typed
from evenly.flows.cli.output import Columns, print_rows, print_text
from evenly.signatures import Named, Root

Refresh = Annotated[bool, Named("--refresh"), "Ask the endpoints for the status of what is open."]
COLUMNS: Columns = {
    "intent": lambda row: row["intent"][:12],
    "status": lambda row: row["status"] + (f" ({row['ended_as']})" if row["ended_as"] else ""),
    "asked by": "class_list",
    **{name: name for name in ("batch", "requests", "completed", "failed")},
}
"""Those that fit a terminal."""


def batches_command(root: Root = None, *, refresh: Refresh = False) -> dict[str, Any]:
    """List the batches that `describe --batch` and captioners have submitted: intent, who asked, status, batch, counts.

    A batch goes on at its endpoint whether or not anybody waits; the same `describe` or `rebuild` takes it up again.

    Example: evenly batches --refresh
    """
    from evenly.storage.workspace import Workspace
    from evenly.tasks.chat.endpoints import batch_rows
    from evenly.tasks.progress import Progress

    return {"batches": batch_rows(Workspace.at(root), refresh=refresh, say=Progress().say)}


def _print_batches(result: dict[str, Any]) -> None:
    if result["batches"]:
        print_rows("batches", result["batches"], COLUMNS)
    else:
        print_text("no batches: `evenly describe --batch` submits them, and captioners with `batch: true`")


def cancel_command(
    intent: Annotated[str, typer.Argument(help="An intent's id, or its beginning: see `evenly batches`.")],
    root: Root = None,
) -> dict[str, Any]:
    """Cancel a batch and store the replies that it has by then; whoever waits for it stops.

    Example: evenly batches cancel 0a1b2c3d4e5f
    """
    from evenly.storage.workspace import Workspace
    from evenly.tasks.chat.endpoints import cancel_one
    from evenly.tasks.progress import Progress

    return cancel_one(Workspace.at(root), intent, say=Progress().say)


def _print_cancelled(row: dict[str, Any]) -> None:
    print_text(f"batch {row['batch'] or 'never submitted'}: {row['ended_as'] or row['status']}")
    if row["status"] not in {"collected", "dropped"}:
        print_text(
            "It is not over yet: cancel it again later, or run the same command again to take in what it brought"
        )


GROUP = typer.Typer(cls=CommandGroup, invoke_without_command=True, rich_markup_mode=None)
GROUP.callback()(typed(batches_command, _print_batches, is_group=True))
GROUP.command("cancel")(typed(cancel_command, _print_cancelled))
