"""Cards of a build and of what was made of it: what their sections say, by the facts of the build."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenly.curation.publication.facts import NOT_READ, Facts

Rows = Sequence[Mapping[str, Any]]
_SHOWN = 20
_PERSONAL = "Web pictures and captions may show or name people."
_LEFT_OUT = (
    "Say yourself what no record knows: who made it, why, under which licence, and what it must not be used for."
)


@dataclass(frozen=True, kw_only=True)
class CardSection:
    """A section of a card: texts and tables in their order, as plain values that whoever prints them escapes."""

    title: str
    blocks: Sequence[str | Rows]


def build_sentence(facts: Facts) -> str:
    """The build in a sentence: how many pairs, out of what, and by which recipe."""
    sources = ", ".join(sorted({str(row["source"]) for row in facts.sources if row["source"]}))
    pictures = f" of {facts.pictures:,} pictures" if facts.pictures else ""
    rows_in = facts.steps[0]["rows_in"] if facts.steps else 0
    return (
        f"{facts.pairs:,} image-text pairs{pictures}, kept of {rows_in:,} rows"
        f"{f' from {sources}' if sources else ''}: build {facts.build} of recipe {facts.recipe}, seed {facts.seed}, "
        f"by evenly {facts.version}."
    )


def card_sections(facts: Facts) -> list[CardSection]:
    """The sections of a dataset card: sources, languages, steps, models, reservations and licences."""
    captions = [{"caption by": name, "pairs": count} for name, count in facts.captions.items()]
    languages = ", ".join(f"{name or 'none detected'} {count:,}" for name, count in (facts.languages or {}).items())
    return [
        CardSection(title="Sources", blocks=[facts.sources, *_fetched(facts)]),
        CardSection(title="Languages", blocks=[languages or "No step of the build detected them."]),
        CardSection(title="Steps", blocks=[[_step_row(step) for step in facts.steps]]),
        CardSection(title="Captions and models", blocks=[captions, *([facts.models] if facts.models else [])]),
        CardSection(title="Reservations of rights", blocks=[*_reservations(facts)]),
        CardSection(title="What this card does not say", blocks=[_LEFT_OUT]),
    ]


def _fetched(facts: Facts) -> Iterator[str | Rows]:
    if facts.period:
        days = " to ".join(facts.period)
        yield f"Pictures were fetched from {len(facts.domains):,} domains, {days}. The largest by bytes:"
        yield facts.domains[:_SHOWN]


def _step_row(step: Mapping[str, Any]) -> dict[str, Any]:
    names = ("step", "rows_in", "kept", "dropped", "failed", "merged")
    return {name: step[name] for name in names} | {
        "reasons": ", ".join(f"{reason} {count:,}" for reason, count in step["reasons"].items())
    }


def _reservations(facts: Facts) -> Iterator[str | Rows]:
    if facts.respected is None:
        yield "Nothing was downloaded or taken in."
        return
    yield [{"honoured": name, "pairs removed": facts.removed.get(name, 0)} for name in facts.respected]
    if facts.reserved is None:
        yield "What pictures reserve beside this was not stored: the recipe did not ask for it."
        return
    reserved = {name: count for name, count in facts.reserved.items() if name != NOT_READ}
    listed = ", ".join(f"{name} {count:,}" for name, count in reserved.items()) or "none"
    yield (
        f"Pairs kept although their pictures reserve rights by what is not honoured: {listed}; of which nobody looked: "
        f"{facts.reserved.get(NOT_READ, 0):,}. {facts.copyrights or 0:,} pairs have pictures that name a copyright."
    )
    if facts.licenses:
        rows = [{"licence in the file": name, "pairs": count} for name, count in facts.licenses.items()]
        yield rows[:_SHOWN]


def responsible_fields(facts: Facts) -> dict[str, Any]:
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
        "data_collection": build_sentence(facts),
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


def model_sections(
    card: Mapping[str, Any], facts: Facts | None, measures: Sequence[Mapping[str, Any]] = ()
) -> list[CardSection]:
    """The sections of the card of an adapter or refined encoder, the first without a title; see `model_card`."""
    sections = [CardSection(title="", blocks=[_model_rows(card)])]
    if rows := measures or [{"measure": key, "value": value} for key, value in (card.get("metrics") or {}).items()]:
        foot = [str(card["losses"])] if "losses" in card else []
        sections.append(CardSection(title="Evaluation", blocks=[rows, *foot]))
    if facts is not None:
        return [*sections, CardSection(title="Training data", blocks=[build_sentence(facts)]), *card_sections(facts)]
    made_of = f"build {card['build']}, which is not here." if "build" in card else "files of a user."
    return [*sections, CardSection(title="", blocks=[f"It was made of {made_of}"])]


def _model_rows(card: Mapping[str, Any]) -> Rows:
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
    return [{"field": key, "value": value} for key, value in rows if value not in (None, "")]


def _in_short(value: Any) -> str:  # noqa: ANN401 - any value of a rule
    """A value of a rule in one line; of class lists their names."""
    if isinstance(value, list):
        return ", ".join(str(entry.get("list", "")) if isinstance(entry, Mapping) else str(entry) for entry in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return "" if value is None else str(value)
