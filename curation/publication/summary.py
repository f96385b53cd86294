"""The public summary of training content of a build: the fields of the template with their answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from evenly.curation.publication.answers import ANSWERS, CONDITIONS
from evenly.curation.publication.eu_gpai import FIELDS
from evenly.curation.publication.facts import Facts
from evenly.curation.publication.provider import Provider

EU_GPAI = "eu-gpai"
OPTIONAL = "-"
TITLES = {
    "1.1": "Provider identification",
    "1.2": "Model identification",
    "1.3": "Modalities, overall training data size and other characteristics",
    "2.1": "Publicly available datasets",
    "2.2.1": "Private datasets commercially licensed by rightsholders or their representatives",
    "2.2.2": "Private datasets obtained from other third parties",
    "2.3": "Data crawled and scraped from online sources",
    "2.4": "User data",
    "2.5": "Synthetic data",
    "2.6": "Other sources of data",
    "3.1": "Respect of reservation of rights from text and data mining exception or limitation",
    "3.2": "Removal of illegal content",
    "3.3": "Other information (optional)",
}
PARTS = {"1": "General information", "2": "List of data sources", "3": "Data processing aspects"}


@dataclass(frozen=True, kw_only=True)
class SummaryField:
    """A field that was answered: by the provider's words, by the records (text, rows, and what recomputes it), or not.

    must_say: what is still to be said; "" where it is answered.
    """

    number: str
    question: str
    provided: str
    recorded: str
    rows: Sequence[Mapping[str, Any]]
    fact: str
    command: str
    must_say: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The public summary of a build; fields are in the order of the template."""

    template: str
    build: str
    version: str
    updated: str
    fields: Sequence[SummaryField]
    comments: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Facts as JSON values, with the number of fields that are still to be said."""
        return {**asdict(self), "must_say": sum(bool(field.must_say) for field in self.fields)}

    def sections(self) -> Iterator[tuple[str, str, list[SummaryField]]]:
        """Number, title and fields of each section."""
        for number, title in TITLES.items():
            yield number, title, [field for field in self.fields if field.number == number]


def summarize(facts: Facts, provider: Provider, *, today: date) -> Summary:
    """The summary by the facts and the provider's answers, of that day."""
    return Summary(
        template=EU_GPAI,
        build=facts.build,
        version=provider.summary_version or "",
        updated=today.isoformat(),
        fields=[*_answered(facts, provider)],
        comments=dict(provider.comments),
    )


def _answered(facts: Facts, provider: Provider) -> Iterator[SummaryField]:
    for field in FIELDS:
        if not CONDITIONS[field.condition](facts, provider):
            continue
        answer = ANSWERS[field.records](facts, provider) if field.records else None
        provided = _in_words(provider.answer(field.provider)) if field.provider else ""
        is_missing = not provided and answer is None and field.must_say != OPTIONAL
        yield SummaryField(
            number=field.number,
            question=field.question,
            provided=provided,
            recorded=answer.text if answer else "",
            rows=answer.rows if answer else (),
            fact=answer.fact if answer else "",
            command=f"evenly facts {facts.build} {answer.fact}" if answer else "",
            must_say=f"You must say: {field.must_say or field.question}" if is_missing else "",
        )


def _in_words(value: Any) -> str:  # noqa: ANN401 - any answer
    if isinstance(value, bool):
        return "Yes." if value else "No."
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)
