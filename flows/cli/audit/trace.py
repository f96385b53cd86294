"""The command that says of what something was made, and what was made of it: trace."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import print_json, print_text
from evenly.signatures import Named, Root

if TYPE_CHECKING:
    from evenly.audit.lineage.things import Trace
    from evenly.storage.workspace import Workspace


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
    openlineage: Annotated[
        Path | None, Named(metavar="FILE"), "Of a build: write its OpenLineage events, one a line."
    ] = None,
) -> object:
    """Show of what something was made, and what was made of it, by what was recorded when it was.

    Exit status 1 where the workspace knows no such thing.

    Example: evenly trace latest

    Example: evenly trace http://photos.test/robin.jpg --down --format mermaid
    """
    from evenly.audit.lineage.things import trace_thing
    from evenly.storage.workspace import Workspace

    trace = trace_thing(Workspace.at(root), thing, upstream=up or not down, downstream=down or not up)
    if openlineage is not None:
        _write_events(openlineage, trace, Workspace.at(root))
    return trace


def _write_events(path: Path, trace: "Trace", workspace: "Workspace") -> None:
    import json
    from dataclasses import asdict

    from evenly.audit.published import PublishedBuild
    from evenly.storage.builds import Builds
    from evenly.storage.lineage.events import events_of_build
    from evenly.storage.records import replace_text

    builds = [key.partition(":")[2] for key in trace.starts if key.startswith("build:")]
    if not builds:
        raise UsageError(f"`--openlineage` must be of a build; got `{trace.thing}`. Name a build.")
    build = PublishedBuild(workspace, Builds(workspace).read(builds[0]))
    events = events_of_build(workspace, build.manifest, [asdict(record) for record in build.records])
    replace_text(path, "".join(f"{json.dumps(event, sort_keys=True)}\n" for event in events))


def _print_trace(
    trace: Any,  # noqa: ANN401 - audit's, which is imported late
    *,
    format_name: Annotated[str, Named("--format"), "text, json or mermaid."] = "text",
    openlineage: Path | None = None,
) -> None:
    from evenly.audit.lineage.render import to_mermaid, to_text

    if format_name == "json":
        print_json(trace.to_dict())
    elif format_name in ("text", "mermaid"):
        print_text((to_text if format_name == "text" else to_mermaid)(trace))
    else:
        raise UsageError(f"`--format` must be text, json or mermaid; got `{format_name}`. Choose one.")
    if openlineage is not None and format_name == "text":
        print_text(f"written  {openlineage}")


COMMANDS = {"trace": typed(trace_command, _print_trace)}
