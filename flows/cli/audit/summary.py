"""Commands that tell the public of a build and of models made of it: summary, facts, model-card."""

from pathlib import Path
from typing import Annotated, Any

import typer

from evenly.flows.cli.command import typed
from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.output import Build, print_json, print_text, print_written
from evenly.signatures import Named, Root

_ENDINGS = (".md", ".json", ".html")


def summary_command(
    build: Build = "latest",
    template: Annotated[str, "The template: eu-gpai."] = "eu-gpai",
    provider: Annotated[Path | None, Named(metavar="FILE.yaml"), "Your own answers; --init writes such a file."] = None,
    init: Annotated[
        Path | None, Named(metavar="FILE.yaml"), "Write a commented file for your answers, and end."
    ] = None,
    out: Annotated[Path | None, Named(metavar="FILE"), "Write it: .md, .json, or .html for a page that prints."] = None,
    root: Root = None,
) -> object:
    """Write the public summary of training content of a build: Article 53(1)(d) of the EU's AI Act.

    What no record knows is listed as what you must say. It is no legal advice: docs/summary.md.

    Example: evenly summary latest --init me.yaml

    Example: evenly summary latest --provider me.yaml --out summary.html
    """
    from datetime import UTC, datetime

    from evenly.audit.publication.pages import as_markdown, as_page
    from evenly.audit.publication.provider import check_sources, new_provider_file, read_provider
    from evenly.audit.publication.reading import read_facts
    from evenly.audit.published import PublishedBuild
    from evenly.curation.publication.summary import EU_GPAI, summarize
    from evenly.flows.cli.output import json_text
    from evenly.storage.builds import open_build
    from evenly.storage.records import replace_text

    if init is not None:
        if init.exists():
            raise UsageError(f"`--init` must be a new file; got `{init}`, which is there. Name another.")
        replace_text(init.absolute(), new_provider_file())
        return {"written": str(init)}
    if out is not None and out.suffix not in _ENDINGS:
        raise UsageError(f"`--out` must end with .md, .json or .html; got `{out}`. Correct it.")
    if template != EU_GPAI:
        raise UsageError(f"`--template` must be {EU_GPAI}, the only one that is known; got `{template}`. Correct it.")
    stated = read_provider(provider)
    facts = read_facts(PublishedBuild(*open_build(build, root=root)))
    check_sources(stated, facts)
    summary = summarize(facts, stated, today=datetime.now(UTC).date())
    if out is None:
        return summary
    text = as_markdown(summary) if out.suffix == ".md" else f"{json_text(summary.to_dict())}\n"
    replace_text(out.absolute(), as_page(summary) if out.suffix == ".html" else text)
    return {**summary.to_dict(), "written": str(out)}


def _print_summary(result: Any) -> None:  # noqa: ANN401 - audit's, which is imported late
    from evenly.audit.publication.pages import as_markdown
    from evenly.curation.publication.summary import Summary

    if isinstance(result, Summary):
        for line in as_markdown(result).splitlines():
            print_text(line)
        result = result.to_dict()
    if result.get("must_say"):
        print_text(
            f"{result['must_say']} answers are yours to give: `evenly summary --init FILE` writes a file for them"
        )
    print_written(result)


def _print_card(result: dict[str, Any]) -> None:
    for line in result.get("markdown", "").splitlines():
        print_text(line)
    print_written(result)


def facts_command(
    build: Build = "latest",
    fact: Annotated[str | None, typer.Argument(help="One of them; default: all.")] = None,
    root: Root = None,
) -> dict[str, Any]:
    """Compute the facts of a build that are published, or one of them, from what is recorded.

    Example: evenly facts latest domains
    """
    from evenly.audit.publication.reading import read_facts
    from evenly.audit.published import PublishedBuild
    from evenly.storage.builds import open_build

    values = read_facts(PublishedBuild(*open_build(build, root=root))).to_dict()
    if fact is None:
        return values
    if fact not in values:
        raise UsageError(f"`fact` must be one of {', '.join(values)}; got `{fact}`. Correct it.")
    return {"build": values["build"], fact: values[fact]}


def model_card_command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The file of a fitted adapter, or the name of a refined encoder.")
    ],
    out: Annotated[Path | None, Named(metavar="FILE.md"), "Write it, instead of printing it."] = None,
    root: Root = None,
) -> dict[str, Any]:
    """Write the card of an adapter or refined encoder: what it is, what it was made of, how it did on test data.

    Example: evenly model-card .evenly/adapters/demo-3fa9c2d4e5f6/birds/tip-description.json

    Example: evenly model-card birds-refined --out README.md
    """
    from evenly.audit.publication.cards import model_card
    from evenly.audit.publication.reading import read_facts
    from evenly.audit.published import PublishedBuild
    from evenly.storage.artifacts.kinds import adapter_at, refined_encoders_of
    from evenly.storage.builds import open_build
    from evenly.storage.errors import NotFoundError
    from evenly.storage.ledger import Ledger
    from evenly.storage.records import replace_text
    from evenly.storage.workspace import Workspace

    path, workspace = Path(model), Workspace.at(root)
    if path.exists():
        card, name = adapter_at(path)[0], path.stem
    else:
        card, name = refined_encoders_of(workspace).read(model)[0], model
    try:
        facts = read_facts(PublishedBuild(*open_build(str(card.get("build", "")), root=root)))
    except NotFoundError:
        facts = None
    ledger = Ledger(workspace)
    record = ledger.find(str(card["step"])) if card.get("step") else None
    measures = ledger.table(record, "measures").to_pylist() if record and "measures" in record.hashes else ()
    text = model_card(card, name, facts, measures)
    if out is None:
        return {"model": name, "build": card.get("build"), "markdown": text}
    replace_text(out.absolute(), text)
    return {"model": name, "build": card.get("build"), "written": str(out)}


COMMANDS = {
    "summary": typed(summary_command, _print_summary),
    "facts": typed(facts_command, print_json),
    "model-card": typed(model_card_command, _print_card),
}
