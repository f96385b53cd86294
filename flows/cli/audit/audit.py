"""Commands that explain and check: why, diff, card, verify."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import FINDING, UsageError
from evenly.flows.cli.output import Build, print_text
from evenly.signatures import Named, Quiet, Root


def why_command(
    sample: Annotated[
        str,
        typer.Argument(
            metavar="SAMPLE", help="A uid, or a URL, file name, id of the pool or picture for all pairs that share it."
        ),
    ],
    build: Annotated[
        str | None, "A build id, the beginning of one, or a recipe; default: the latest of each recipe."
    ] = None,
    root: Root = None,
    *,
    replay: Annotated[bool, "Recompute what is pure and compare."] = False,
    what_if: Annotated[
        Sequence[str] | None, Named(metavar="FIELD=VALUE"), "Also its fate by another value of a field below `curate`."
    ] = None,
    picture: Annotated[Path | None, Named(metavar="FILE.png"), "Also draw its regions on its picture."] = None,
) -> object:
    """Say what every step decided about one sample, by which rule, value, model and twin.

    Exit status 1 where the sample is unknown, or a replay gives something else than what is stored.

    Example: evenly why 0a1b2c3d4e5f60718293a4b5c6d7e8f9

    Example: evenly why photos/robin/a.png

    Example: evenly why photos/robin/a.png --what-if align.keep_top=0.5
    """
    from evenly.flows.cli.audit.sample import draw_regions, explain_sample

    if picture is not None and picture.suffix.lower() != ".png":
        raise UsageError(f"`--picture` must end with .png; got `{picture}`. Correct it.")
    explanation = explain_sample(sample, build=build, root=root, replay=replay)
    if picture is not None:
        draw_regions(picture, explanation, root=root)
    if not what_if:
        return explanation
    from evenly.audit.published import PublishedBuild
    from evenly.flows.recipe.what_if import what_if_of
    from evenly.storage.builds import open_build

    return what_if_of(PublishedBuild(*open_build(explanation.build, root=root)), what_if).history(explanation)


def _print_explanation(
    explanation: Any,  # noqa: ANN401 - audit's, which is imported late
    *,
    verbose: Annotated[bool, "Show the whole rule of each step, not what decided."] = False,
    picture: Path | None = None,
) -> None:
    print_text(explanation.to_text(verbose=verbose))
    if picture is not None:
        print_text(f"written  {picture}")


def diff_command(
    before: Annotated[str, typer.Argument(help="The older build.")],
    after: Annotated[str, typer.Argument(help="The newer build.")],
    html: Annotated[Path | None, Named(metavar="FILE.html"), "Also write it as a page, with pictures."] = None,
    root: Root = None,
) -> object:
    """Say which samples entered, left or changed between two builds, by reason and cause, and what models came to.

    `latest` beside another build is the latest of the same recipe. Each pair that moved has its cause: the pool, a
    rule, a model or prompt, code, or a knock-on of one of these through a count or threshold of all pairs.

    Example: evenly diff demo-3fa9c2d4e5f6 latest

    Example: evenly diff demo-3fa9c2d4e5f6 latest --html changes.html
    """
    from evenly.audit.diff import diff_builds
    from evenly.storage.builds import open_two

    if html is not None and html.suffix.lower() != ".html":
        raise UsageError(f"`--html` must end with .html; got `{html}`. Correct it.")
    workspace, *manifests = open_two(before, after, root=root)
    difference = diff_builds(workspace, *manifests, with_metrics=True)
    if html is not None:
        from evenly.audit.published import PublishedBuild
        from evenly.audit.report.difference import write_difference

        write_difference(html, difference, *(PublishedBuild(workspace, manifest) for manifest in manifests))
    return difference


def _print_difference(difference: Any, *, html: Path | None = None) -> None:  # noqa: ANN401 - audit's, imported late
    print_text(difference.to_text())
    if html is not None:
        print_text(f"written  {html}")


def card_command(build: Build = "latest", root: Root = None) -> object:
    """Show the data card of a build: counts per concept before and after, thresholds, expected against kept.

    With --json, every concept that occurs, and those that no pair names. Example: evenly card latest --json
    """
    from evenly.audit.card import read_card
    from evenly.audit.published import PublishedBuild
    from evenly.storage.builds import open_build

    return read_card(PublishedBuild(*open_build(build, root=root)))


def _print_card(card: Any) -> None:  # noqa: ANN401 - curation's, which is imported late
    from evenly.audit.card import card_lines

    print_text("\n".join(card_lines(card)))


def verify_command(
    build: Build = "latest",
    root: Root = None,
    *,
    every_image: Annotated[bool, "Hash the bytes of all pictures, not of a sample."] = False,
    seed: Annotated[int | None, "Draw the sample of pictures of an earlier run again; a new one without."] = None,
    quiet: Quiet = True,
) -> dict[str, Any]:
    """Check hashes, conservation, stored bytes and pictures of a build. Exit status 1 with what is wrong.

    Features, download records, replies, adapters, refined encoders and indexes are those of the whole workspace.

    Example: evenly verify latest
    """
    from evenly.audit.verify import new_seed, verify_one
    from evenly.storage.builds import open_build
    from evenly.storage.files.identities import default_cache
    from evenly.tasks.progress import Progress

    workspace, manifest = open_build(build, root=root)
    drawn, bar = new_seed() if seed is None else seed, Progress(quiet=quiet).bar
    findings = verify_one(workspace, manifest, seed=drawn, every_image=every_image, bar=bar, cache=default_cache())
    return {"build": manifest["build"], "ok": not findings, "seed": drawn, "findings": findings}


def _print_verified(result: dict[str, Any], *, every_image: bool) -> None:
    findings = result["findings"]
    for finding in findings:
        print_text(f"{finding['where']}: {finding['what']}")
    if not every_image:
        print_text(f"pictures drawn with seed {result['seed']}")
    print_text(f"{result['build']}: {'ok' if result['ok'] else f'{len(findings)} findings'}")


COMMANDS = {
    "why": typed(why_command, _print_explanation, status=lambda explanation: 0 if explanation.agrees else FINDING),
    "diff": typed(diff_command, _print_difference),
    "card": typed(card_command, _print_card),
    "verify": typed(verify_command, _print_verified, status=lambda result: 0 if result["ok"] else FINDING),
}
