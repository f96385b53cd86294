"""The command that says of what something was made, and what was made of it: trace."""

from typing import Annotated, Any, Literal

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import print_json, print_text
from evenly.signatures import Named, Root


def trace_command(
    thing: Annotated[
        str,
        typer.Argument(
            metavar="THING",
            help="A build, BUILD:STEP, step key, class list, adapter, encoder, feature set, request, report, export; a "
            "uid, URL, picture or file.",
        ),
    ],
    root: Root = None,
    *,
    up: Annotated[bool, Named("--up"), "Only of what it was made."] = False,
    down: Annotated[bool, Named("--down"), "Only what was made of it."] = False,
) -> object:
    """Show of what something was made, and what was made of it, by what was recorded when it was.

    Exit status 1 where the workspace knows no such thing.

    Example: evenly trace latest

    Example: evenly trace http://photos.test/robin.jpg --down --format mermaid
    """
    from evenly.audit.lineage.things import trace_thing
    from evenly.storage.workspace import Workspace

    return trace_thing(Workspace.at(root), thing, up=up or not down, down=down or not up)


Format = Literal["text", "json", "mermaid"]


def _print_trace(
    trace: Any,  # noqa: ANN401 - audit's, which is imported late
    *,
    format_name: Annotated[str, Named("--format"), "text, json or mermaid."] = "text",
) -> None:
    from evenly.audit.lineage.render import to_mermaid, to_text

    if format_name == "json":
        print_json(trace.to_dict())
    elif format_name in ("text", "mermaid"):
        print_text((to_text if format_name == "text" else to_mermaid)(trace))
    else:
        raise UsageError(f"`--format` must be text, json or mermaid; got `{format_name}`. Choose one.")


COMMANDS = {"trace": typed(trace_command, _print_trace)}
