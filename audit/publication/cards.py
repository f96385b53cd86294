"""Cards as Markdown, by the facts of a build: for an export as a dataset, and for a model made of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenly.audit.publication.pages import markdown_table, plain_markdown
from evenly.curation.publication.card import (
    CardSection,
    build_sentence,
    card_sections,
    model_sections,
    responsible_fields,
)
from evenly.curation.publication.facts import Facts
from evenly.storage.exports.content import About


def about_build(facts: Facts) -> About:
    """What an export tells of the build that it is of."""
    return About(
        languages=tuple(name for name in facts.languages or () if name),
        made_by_models=bool(facts.made_captions()),
        text=_markdown(card_sections(facts)),
        description=build_sentence(facts),
        responsible=responsible_fields(facts),
    )


def model_card(
    card: Mapping[str, Any], name: str, facts: Facts | None, measures: Sequence[Mapping[str, Any]] = ()
) -> str:
    """The card of an adapter or refined encoder as Markdown.

    facts: of the build that it was made of, if that is here. measures: rows of what was measured, where these are
    stored apart from the card.
    """
    noun = "Adapter" if "adapter" in card else "Refined encoder"
    lines = [*_model_header(card, name, facts), f"# {noun} {plain_markdown(name)}", ""]
    return "\n".join([*lines, _markdown(model_sections(card, facts, measures))]) + "\n"


def _markdown(sections: Sequence[CardSection]) -> str:
    """Sections as Markdown; what acts in texts and tables is escaped."""
    lines = list[str]()
    for section in sections:
        lines += [f"## {section.title}", ""] if section.title else []
        for block in section.blocks:
            lines += [*([plain_markdown(block)] if isinstance(block, str) else markdown_table(block)), ""]
    return "\n".join(lines).rstrip("\n")


def _model_header(card: Mapping[str, Any], name: str, facts: Facts | None) -> Iterator[str]:
    yield "---"
    yield "library_name: evenly"
    yield f"tags: [{'clip-adapter' if 'adapter' in card else 'clip'}, vision-language]"
    languages = [name for name in (facts.languages or () if facts else ()) if name]
    if languages:
        yield f"language: [{', '.join(languages)}]"
    yield f"model_name: {plain_name(name)}"
    yield "---"
    yield ""


def plain_name(name: str) -> str:
    """A name that YAML takes for nothing but a text."""
    return '"' + "".join(letter for letter in name if letter.isalnum() or letter in " ._-/") + '"'
