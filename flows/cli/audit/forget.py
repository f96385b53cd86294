"""The command that takes samples down: forget."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_types import Ge

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import FINDING, UsageError
from evenly.flows.cli.output import print_rows, print_text
from evenly.signatures import InWorkspace, Named, Quiet, taking


@dataclass(frozen=True, kw_only=True)
class ForgetOptions(InWorkspace):
    """Options of `evenly forget`."""

    with_twins: Annotated[
        bool, Named("--with-twins"), "Also pairs with the same picture: by bytes, looks or cosine."
    ] = False
    yes: Annotated[bool, Named("--yes"), "Do it; without, only show what it would take."] = False
    prove: Annotated[bool, Named("--prove"), "Search all decoded content for it, or for all that was forgotten."] = (
        False
    )
    resume: Annotated[bool, Named("--resume"), "Finish a take-down that was broken off."] = False
    recipe: Annotated[
        Sequence[Path] | None, Named(metavar="FILE"), "The file of a recipe whose builds hold it; may be repeated."
    ] = None
    without_successors: Annotated[
        bool, Named("--without-successors"), "Rebuild nothing more: builds that hold it just end."
    ] = False
    wait: Annotated[int, Ge(0), "Seconds to wait for commands that write there."] = 0
    quiet: Quiet = False


@taking(ForgetOptions)
def forget_command(
    thing: Annotated[
        str | None,
        typer.Argument(
            metavar="THING",
            help="A uid, a URL, the sha256 of a picture, a domain, caption:PATTERN, or a file of these, one a line.",
        ),
    ],
    options: ForgetOptions,
) -> dict[str, Any]:
    """Take pairs down: from new builds, builds that hold them, downloads, features, replies, and what was made of it.

    Without --yes only the plan. Every build that holds it gets a successor by its recipe; what held it is purged, and
    decoded content is searched for what is left. A receipt, without content and signed, stays in the workspace.

    Exit status 1 where something is left.

    Example: evenly forget https://example.org/a.jpg --with-twins

    Example: evenly forget example.org --yes

    Example: evenly forget --prove
    """
    from evenly.flows.cli.audit.takedown import recipes_of
    from evenly.storage.removal.takedown import read_unfinished
    from evenly.storage.workspace import Workspace, exclusive_use
    from evenly.tasks.takedown import begin, finish, plan_of, prove

    workspace, things = Workspace.at(options.root), [] if thing is None else [thing]
    if options.prove and not options.yes:
        return prove(workspace, things)
    unfinished = read_unfinished(workspace)
    request = {"things": things, "with_twins": options.with_twins}
    if unfinished is not None and (options.resume or (options.yes and unfinished.request == request)):
        left = replace(unfinished, recipes={}) if options.without_successors else unfinished
        return finish(workspace, left, _rebuilding(options), wait_s=options.wait)
    if unfinished is not None:
        raise UsageError(
            f"a take-down must be finished before another; that of {unfinished.begun} is not. Finish it: "
            "`evenly forget --resume`."
        )
    if options.resume:
        return {"workspace": str(workspace.root), "done": True, "unfinished": False, "left": []}
    if thing is None:
        raise UsageError("`THING` must be named, or --prove or --resume; got none. Name what is to go.")
    with exclusive_use(workspace, "forget", wait_s=options.wait) if options.yes else nullcontext():
        recipes = partial(recipes_of, workspace, options.recipe or ())
        plan = plan_of(workspace, things, with_twins=options.with_twins, recipes_of=recipes)
        if not options.yes or plan.is_done:
            return plan.to_dict(workspace) | ({"done": True, "left": []} if options.yes else {})
        take = begin(workspace, plan, request, without_successors=options.without_successors)
    return finish(workspace, take, _rebuilding(options), wait_s=options.wait)


def _rebuilding(options: ForgetOptions) -> Callable[[str], str]:
    """Rebuilds by a recipe's file, and gives the build; "" where no pair is left."""

    def rebuild(file: str) -> str:
        from evenly.flows.rebuild_dataset import rebuild_dataset
        from evenly.flows.runs import as_flow
        from evenly.options import RebuildOptions
        from evenly.signatures import flow_values
        from evenly.tasks.step import NothingLeftError

        values = flow_values(RebuildOptions(root=options.root, wait_s=options.wait, quiet=options.quiet))
        try:
            return str(as_flow(rebuild_dataset)(file, **values))
        except NothingLeftError:
            return ""

    return rebuild


def _print_forgotten(result: dict[str, Any]) -> None:
    if "hits" in result:
        _print_left(result)
        print_text(f"{result['hits']} hits in {result['files']:,} files, {result['bytes']:,} bytes")
    elif "receipt" in result:
        for build, successor in result["builds"].items():
            print_text(
                f"{build}: taken down; {f'its successor is {successor}' if successor else 'it has no successor'}"
            )
        _print_left(result)
        later = "; of the pattern, these alone are refused later" if result["pattern"] else ""
        print_text(f"{result['pairs']:,} pairs are forgotten{later}; receipt {result['receipt']}")
    elif "pairs" not in result:
        print_text("no take-down is unfinished")
    else:
        _print_plan(result)


def _print_left(result: dict[str, Any]) -> None:
    for row in result["left"]:
        counts = ", ".join(f"{count} {kind}" for kind, count in row["counts"].items())
        print_text(f"left in {row['file']}: {counts}; {row['why']}")


def _print_plan(result: dict[str, Any]) -> None:
    print_text(f"{result['pairs']:,} pairs in {result['workspace']}; for the forget list: {result['entries']:,}")
    if result["twins"]:
        print_rows("twins of their pictures (--with-twins takes them down too)", result["twins"])
    if result["held"]:
        print_rows("where it is held", result["held"])
    for row in result["builds"]:
        source = f"rebuilt by {row['file']}" if row["file"] else "its recipe is not known: name it with --recipe"
        changed = f"; changed since: {', '.join(row['changed'])}" if row["changed"] else ""
        print_text(f"{row['build']}: {source}{changed}")
    for row in result["exports"]:
        fate = "it left the workspace: remove it there" if Path(row["place"]).is_absolute() else "it goes"
        print_text(f"{row['kind']} of {row['build']}, {row['place']}: {fate}")
    for name in result["artifacts"]:
        is_fitted = name.startswith(("adapters/", "refined/regions/"))
        print_text(f"{name}: it goes; {'the rebuild fits it again' if is_fitted else 'refine again'}")
    if not result["entries"]:
        print_text("no pair is named by it")
    elif result["done"] or (result["listed"] and not result["held"]):
        print_text("it is on the forget list, and nothing holds it")
    else:
        print_text(f"about {result['seconds']:.0f} s; nothing was changed; run it with --yes to do this")


def _status(result: dict[str, Any]) -> int:
    return FINDING if result.get("left") and (result.get("done") or "hits" in result) else 0


COMMANDS = {"forget": typed(forget_command, _print_forgotten, status=_status)}
