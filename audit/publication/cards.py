"""Cards by the facts of a build: for an export as a dataset, with Croissant's fields, and for a model made of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evenly.audit.publication.pages import cell, markdown_table, plain_markdown
from evenly.curation.publication.facts import NOT_READ, Facts
from evenly.storage.exports.content import About

_SHOWN = 20
_PERSONAL = "Web pictures and captions may show or name people."
_LEFT_OUT = (
    "Say yourself what no record knows: who made it, why, under which licence, and what it must not be used for."
)


def about_build(facts: Facts) -> About:
    """What an export tells of the build that it is of."""
    return About(
        languages=tuple(name for name in facts.languages or () if name),
        made_by_models=bool(facts.made_captions()),
        text="\n".join(_card_lines(facts)),
        description=_sentence(facts),
        responsible=_responsible(facts),
    )


def _sentence(facts: Facts) -> str:
    sources = ", ".join(sorted({str(row["source"]) for row in facts.sources if row["source"]}))
    pictures = f" of {facts.pictures:,} pictures" if facts.pictures else ""
    rows_in = facts.steps[0]["rows_in"] if facts.steps else 0
    return (
        f"{facts.pairs:,} image-text pairs{pictures}, kept of {rows_in:,} rows"
        f"{f' from {sources}' if sources else ''}: build {facts.build} of recipe {facts.recipe}, seed {facts.seed}, "
        f"by evenly {facts.version}."
    )


def _card_lines(facts: Facts) -> Iterator[str]:
    """Sections of a dataset card: sources, languages, steps, models, reservations and licences."""
    yield "## Sources"
    yield ""
    yield from markdown_table(facts.sources)
    if facts.period:
        yield ""
        days = " to ".join(facts.period)
        yield f"Pictures were fetched from {len(facts.domains):,} domains, {days}. The largest by bytes:"
        yield ""
        yield from markdown_table(facts.domains[:_SHOWN])
    yield ""
    yield "## Languages"
    yield ""
    languages = facts.languages
    found = ", ".join(f"{name or 'none detected'} {count:,}" for name, count in (languages or {}).items())
    yield plain_markdown(found) or "No step of the build detected them."
    yield ""
    yield "## Steps"
    yield ""
    yield from markdown_table([_step_row(step) for step in facts.steps])
    yield ""
    yield "## Captions and models"
    yield ""
    yield from markdown_table([{"caption by": name, "pairs": count} for name, count in facts.captions.items()])
    if facts.models:
        yield ""
        yield from markdown_table(facts.models)
    yield ""
    yield "## Reservations of rights"
    yield ""
    yield from _reservation_lines(facts)
    yield ""
    yield "## What this card does not say"
    yield ""
    yield _LEFT_OUT


def _step_row(step: Mapping[str, Any]) -> dict[str, Any]:
    names = ("step", "rows_in", "kept", "dropped", "failed", "merged")
    return {name: step[name] for name in names} | {
        "reasons": ", ".join(f"{reason} {count:,}" for reason, count in step["reasons"].items())
    }


def _reservation_lines(facts: Facts) -> Iterator[str]:
    if facts.respected is None:
        yield "Nothing was downloaded or taken in."
        return
    yield from markdown_table(
        [{"honoured": name, "pairs removed": facts.removed.get(name, 0)} for name in facts.respected]
    )
    yield ""
    if facts.reserved is None:
        yield "What pictures reserve beside this was not stored (`store_reservations`)."
        return
    reserved = {name: count for name, count in facts.reserved.items() if name != NOT_READ}
    unread = facts.reserved.get(NOT_READ, 0)
    listed = ", ".join(f"{name} {count:,}" for name, count in reserved.items()) or "none"
    yield f"Pairs kept although their pictures reserve rights by what is not honoured: {plain_markdown(listed)}; "
    yield f"of which nobody looked: {unread:,}. {facts.copyrights or 0:,} pairs have pictures that name a copyright."
    if facts.licenses:
        yield ""
        rows = [{"licence in the file": name, "pairs": count} for name, count in facts.licenses.items()]
        yield from markdown_table(rows[:_SHOWN])


def _responsible(facts: Facts) -> dict[str, Any]:
    """Croissant's fields for responsible AI, by their names in mlcroissant; those that no record knows are left out."""
    steps = [
        f"{step['step']}: {step['question']} {step['rows_in']:,} in, {step['kept']:,} kept" for step in facts.steps
    ]
    limits = ["Languages were not detected."] if facts.languages is None else []
    if facts.reserved is None:
        limits.append("What pictures reserve beside the mechanisms that were honoured was not stored.")
    removed = sum(step["dropped"] + step["failed"] for step in facts.of_safety())
    safety = f"Steps of safety took out {removed:,} pairs." if facts.of_safety() else "No step of safety was on."
    values = {
        "data_collection": _sentence(facts),
        "data_collection_type": ["Web scraping"] if facts.domains else ["Others"],
        "data_collection_timeframe": list(facts.period or ()),
        "data_preprocessing_protocol": steps,
        "machine_annotation_tools": [
            f"{row['role']}: {' '.join(filter(None, (row.get('kind'), row['name'])))}" for row in facts.models
        ],
        "data_annotation_protocol": [f"captions by {name}: {count:,}" for name, count in facts.captions.items()],
        "personal_sensitive_information": [f"{_PERSONAL} {safety}"],
        "data_limitations": limits,
    }
    return {name: value for name, value in values.items() if value}


def model_card(
    card: Mapping[str, Any], name: str, facts: Facts | None, measures: Sequence[Mapping[str, Any]] = ()
) -> str:
    """The card of an adapter or refined encoder as Markdown.

    facts: of the build that it was made of, if that is here. measures: rows of what was measured, where these are
    stored apart from the card.
    """
    noun = "Adapter" if "adapter" in card else "Refined encoder"
    lines = [*_model_header(card, name, facts), f"# {noun} {plain_markdown(name)}", "", *_model_lines(card), ""]
    if rows := measures or [{"measure": key, "value": value} for key, value in (card.get("metrics") or {}).items()]:
        lines += ["## Evaluation", "", *markdown_table(rows), ""]
    if facts is not None:
        lines += ["## Training data", "", plain_markdown(_sentence(facts)), "", *_card_lines(facts)]
    elif "build" in card:
        lines += [f"It was made of build {plain_markdown(str(card['build']))}, which is not here."]
    else:
        lines += ["It was made of files of a user."]
    return "\n".join(lines).rstrip("\n") + "\n"


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


def _model_lines(card: Mapping[str, Any]) -> Iterator[str]:
    encoder = card.get("encoder") or {}
    rows = [
        ("method", card.get("adapter")),
        ("encoder", " ".join(str(encoder[part]) for part in ("model", "pretrained") if encoder.get(part))),
        ("encoder's identity", encoder.get("identity") or card.get("base")),
        ("build", card.get("build")),
        ("class list", card.get("class_list")),
        ("classes", len(card["classes"]) if "classes" in card else None),
        ("texts", card.get("texts")),
        ("chosen on", card.get("chosen_on")),
        ("chosen", ", ".join(f"{key} {value}" for key, value in (card.get("chosen") or {}).items())),
        *((key, _in_short(value)) for key, value in (card.get("rule") or {}).items() if key != "build"),
        ("seed", str(card["seed"]) if "seed" in card else None),
        *(card.get("notes") or {}).items(),
        ("SHA-256 of its arrays", card.get("arrays_sha256") or card.get("heads_sha256")),
    ]
    yield from markdown_table([{"field": key, "value": cell(value)} for key, value in rows if value not in (None, "")])


def _in_short(value: Any) -> str:  # noqa: ANN401 - any value of a rule
    """A value of a rule in one line; of class lists their names."""
    if isinstance(value, list):
        return ", ".join(str(entry.get("list", "")) if isinstance(entry, Mapping) else str(entry) for entry in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return "" if value is None else str(value)
