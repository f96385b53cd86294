"""Commands that explain and check: why, diff, card, verify."""

from collections.abc import Callable
from typing import Annotated

import typer

from evenly.flows.cli.errors import FindingExit
from evenly.flows.cli.output import AsJson, Build, print_json, print_result, print_text
from evenly.signatures import Root


def why_command(
    sample: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLE", help="A uid, or a URL, file name, id of the pool or picture for all pairs that share it."
        ),
    ],
    build: Annotated[
        str | None,
        typer.Option(
            "--build", help="A build id, the beginning of one, or a recipe; default: the latest of each recipe."
        ),
    ] = None,
    root: Root = None,
    as_json: AsJson = False,
    *,
    replay: Annotated[bool, typer.Option(help="Recompute what is pure and compare.")] = False,
    verbose: Annotated[bool, typer.Option(help="Show the whole rule of each step, not what decided.")] = False,
) -> None:
    """Say what every step decided about one sample, by which rule, value, model and twin.

    Exit status 1 where the sample is unknown, or a replay gives something else than what is stored.

    Example: evenly why 0a1b2c3d4e5f60718293a4b5c6d7e8f9

    Example: evenly why photos/robin/a.png
    """
    from evenly.flows.cli.audit.sample import explain_sample

    explanation = explain_sample(sample, build=build, root=root, replay=replay)
    print_result(explanation.to_dict(), lambda: print_text(explanation.to_text(verbose=verbose)), as_json=as_json)
    if not explanation.agrees:
        raise typer.Exit(1)


def diff_command(
    before: Annotated[str, typer.Argument(help="The older build.")],
    after: Annotated[str, typer.Argument(help="The newer build.")],
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Say which samples entered, left or changed between two builds, by reason and cause.

    `latest` beside another build is the latest of the same recipe.

    Example: evenly diff demo-3fa9c2d4e5f6 latest
    """
    from evenly.audit.diff import diff_builds
    from evenly.storage.builds import open_two

    workspace, old, new = open_two(before, after, root=root)
    difference = diff_builds(workspace, old, new)
    print_result(difference.to_dict(), lambda: print_text(difference.to_text()), as_json=as_json)


def card_command(
    build: Build = "latest",
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Show the data card of a build: counts per concept before and after, thresholds, expected against kept.

    With --json, every concept that occurs, and those that no pair names. Example: evenly card latest --json
    """
    from evenly.audit.card import card_lines, read_card
    from evenly.audit.published import PublishedBuild
    from evenly.storage.builds import open_build

    workspace, manifest = open_build(build, root=root)
    card = read_card(PublishedBuild(workspace, manifest))
    print_result(card.to_dict(), lambda: print_text("\n".join(card_lines(card))), as_json=as_json)


def verify_command(
    build: Build = "latest",
    root: Root = None,
    as_json: AsJson = False,
    *,
    every_image: Annotated[bool, typer.Option(help="Hash the bytes of all pictures, not of a sample.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Draw the sample of pictures of an earlier run again; a new one without.")
    ] = None,
) -> None:
    """Check hashes, conservation, stored bytes and pictures of a build. Exit status 1 with what is wrong.

    Features, download records, replies, adapters, refined encoders and indexes are those of the whole workspace.

    Example: evenly verify latest
    """
    from evenly.audit.verify import new_seed, verify_one
    from evenly.storage.builds import open_build
    from evenly.tasks.progress import Progress

    workspace, manifest = open_build(build, root=root)
    drawn = new_seed() if seed is None else seed
    findings = verify_one(workspace, manifest, seed=drawn, every_image=every_image, bar=Progress(quiet=as_json).bar)
    if as_json:
        print_json({"build": manifest["build"], "ok": not findings, "seed": drawn, "findings": findings})
    else:
        for finding in findings:
            print_text(f"{finding['where']}: {finding['what']}")
        if not every_image:
            print_text(f"pictures drawn with seed {drawn}")
        print_text(f"{manifest['build']}: {'ok' if not findings else f'{len(findings)} findings'}")
    if findings:
        raise FindingExit


COMMANDS: dict[str, Callable[..., None]] = {
    "why": why_command,
    "diff": diff_command,
    "card": card_command,
    "verify": verify_command,
}
