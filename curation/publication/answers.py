"""Answers that the facts of a build give to the template of the public summary of training content."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from evenly.curation.publication.facts import DOWNLOADED, NOT_READ, WITHOUT, Facts
from evenly.curation.publication.provider import Provider

SHARE, SMALL_SHARE, SMALL_MOST = 0.10, 0.05, 1000
"""The part of domains that is listed; of a small provider the lower of the other two."""
_BANDS = {
    "text": ((10**9, "less than 1 billion tokens"), (10**13, "1 billion to 10 trillion tokens"),
             (None, "more than 10 trillion tokens")),
    "image": ((10**6, "less than 1 million images"), (10**9, "1 million to 1 billion images"),
              (None, "more than 1 billion images")),
}  # fmt: skip
_TOKENS_A_WORD = 4  # more than any usual tokenizer makes of a word on average
_MODALITIES = "Text, Image"
_ENRICHED = "The template leaves out texts that only enrich data: whether these do is yours to judge."


@dataclass(frozen=True, kw_only=True)
class RecordedAnswer:
    """An answer of the records: in words, perhaps with a table, and the fact by which it is recomputed."""

    text: str
    fact: str
    rows: Sequence[Mapping[str, Any]] = ()


Answering = Callable[[Facts, Provider], RecordedAnswer | None]


def size_range(modality: str, size: float) -> str:
    """The range of the template in which a size lies."""
    return next(words for limit, words in _BANDS[modality] if limit is None or size < limit)


def listed_domains(facts: Facts, *, small: bool) -> Sequence[Mapping[str, Any]]:
    """The largest domains by bytes, as many as the template asks for."""
    share = SMALL_SHARE if small else SHARE
    count = ceil(len(facts.domains) * share)
    return facts.domains[: min(count, SMALL_MOST) if small else count]


def _text_size(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    words = f"{facts.words:,} words in {facts.pairs:,} captions"
    few, many = size_range("text", facts.words), size_range("text", facts.words * _TOKENS_A_WORD)
    size = few if few == many else f"{few}, or {many}: count the tokens of your model"
    return RecordedAnswer(text=f"Text: {size} ({words}).", fact="words")


def _image_size(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    if not facts.pictures:
        return RecordedAnswer(text="No pictures: captions alone.", fact="pictures")
    counted = f"{facts.pictures:,} different pictures of {facts.picture_bytes:,} bytes"
    return RecordedAnswer(text=f"Image: {size_range('image', facts.pictures)} ({counted}).", fact="pictures")


def _modalities(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    return RecordedAnswer(text=_MODALITIES if facts.pictures else "Text", fact="pictures")


def _latest(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    return facts.period and RecordedAnswer(text=f"Pictures of the web: {facts.period[1]}.", fact="period")


def _languages(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    if not facts.languages:
        return None
    rows = [{"language": name or "none detected", "pairs": count} for name, count in facts.languages.items()]
    return RecordedAnswer(text="Languages of captions, as a detector has them:", fact="languages", rows=rows)


def _of_sections(facts: Facts, provider: Provider, *sections: str) -> list[dict[str, Any]]:
    """The sources that the provider puts into a section, with their sizes."""
    rows = []
    for source in facts.sources:
        entry = provider.sources.get(source["source"])
        if entry is not None and entry.section in sections:
            described = {"title": entry.title, "link": entry.link, "description": entry.description}
            rows.append({**source, **{name: text for name, text in described.items() if text}})
    return rows


def _has(*sections: str) -> Answering:
    """Whether sources lie in a section: yes with these; unknown while the section of a source is."""

    def answer(facts: Facts, provider: Provider) -> RecordedAnswer | None:
        if rows := _of_sections(facts, provider, *sections):
            return RecordedAnswer(text="Yes.", fact="sources", rows=rows)
        unknown = [row["source"] for row in facts.sources if row["source"] not in provider.sources]
        return None if unknown else RecordedAnswer(text="No.", fact="sources")

    return answer


def _modalities_of(*sections: str) -> Answering:
    def answer(facts: Facts, provider: Provider) -> RecordedAnswer | None:
        rows = _of_sections(facts, provider, *sections)
        kinds = {row["kind"] for row in rows}
        return RecordedAnswer(text="Text" if kinds == {WITHOUT} else _MODALITIES, fact="sources") if rows else None

    return answer


def _list_of(*sections: str) -> Answering:
    def answer(facts: Facts, provider: Provider) -> RecordedAnswer | None:
        rows = _of_sections(facts, provider, *sections)
        return RecordedAnswer(text="By the sources of the recipe:", fact="sources", rows=rows) if rows else None

    return answer


def _in(*sections: str) -> Callable[[Facts, Provider], bool]:
    return lambda facts, provider: bool(_of_sections(facts, provider, *sections))


def _is_crawled(facts: Facts, _provider: Provider) -> bool:
    return any(row["kind"] == DOWNLOADED for row in facts.sources)


def _crawled(facts: Facts, provider: Provider) -> RecordedAnswer | None:
    rows = [row for row in facts.sources if row["kind"] == DOWNLOADED]
    return RecordedAnswer(text="Yes." if _is_crawled(facts, provider) else "No.", fact="sources", rows=rows)


def _agent(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    return RecordedAnswer(text=f"{facts.agent}, the downloader of evenly {facts.version}.", fact="agent")


def _behaviour(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    honoured = ", ".join(facts.respected or ()) or "none"
    text = (
        "It asks for pictures alone, each address once, and follows no links of pages. It does not sign in, solve "
        f"captchas or pass paywalls. Reservations of rights that it honours: {honoured} (section 3.1)."
    )
    return RecordedAnswer(text=text, fact="respected")


def _period(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    return facts.period and RecordedAnswer(text=f"{facts.period[0]} to {facts.period[1]}.", fact="period")


def _content(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    pictures = sum(row["pictures"] for row in facts.domains)
    return RecordedAnswer(
        text=f"{pictures:,} pictures from {len(facts.domains):,} registrable domains.", fact="domains"
    )


def _relevant_domains(facts: Facts, provider: Provider) -> RecordedAnswer | None:
    rows = listed_domains(facts, small=provider.small)
    share = f"the top {SMALL_SHARE:.0%}, at most {SMALL_MOST:,}," if provider.small else f"the top {SHARE:.0%}"
    text = f"{len(rows):,} of {len(facts.domains):,} domains, {share} by the bytes of their pictures:"
    return RecordedAnswer(text=text, fact="domains", rows=rows)


def _users(facts: Facts, provider: Provider) -> bool:
    answers = provider.user_data
    return bool(answers.interactions or answers.services) or _in("users")(facts, provider)


def _is_synthetic(facts: Facts, provider: Provider) -> bool:
    return bool(facts.made_captions() or provider.synthetic.used or _of_sections(facts, provider, "synthetic"))


def _synthetic(facts: Facts, provider: Provider) -> RecordedAnswer | None:
    if rows := [{"captioner": name, "captions": count} for name, count in facts.made_captions().items()]:
        return RecordedAnswer(
            text=f"Yes: captions that a model or program made. {_ENRICHED}", fact="captions", rows=rows
        )
    if _is_synthetic(facts, provider):
        return RecordedAnswer(text="Yes.", fact="sources", rows=_of_sections(facts, provider, "synthetic"))
    return RecordedAnswer(text="No captions of the build were made by a model.", fact="captions")


def _caption_models(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    captioners = facts.made_captions()
    rows = [row for row in facts.models if row["role"].removeprefix("captioner ") in captioners]
    return RecordedAnswer(text="Models of the captions:", fact="models", rows=rows) if rows else None


def _reservations(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    if facts.respected is None:
        return RecordedAnswer(text="Nothing was downloaded or taken in: captions alone.", fact="respected")
    rows = [
        {"mechanism": name, "honoured": "yes" if name in facts.respected else "no", "pairs removed": count}
        for name in dict.fromkeys([*facts.respected, *facts.removed, *(facts.reserved or ())])
        if name != NOT_READ and (count := facts.removed.get(name, 0)) >= 0
    ]
    text = "Mechanisms by which sites, answers and files reserve rights, and the pairs that went for each:"
    if facts.reserved is not None:
        kept = ", ".join(f"{name} {count:,}" for name, count in facts.reserved.items()) or "none"
        text = f"{text[:-1]}. Pairs kept all the same, by what their pictures reserve: {kept}."
    return RecordedAnswer(text=text, fact="removed", rows=rows)


def _illegal(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    steps = facts.of_safety()
    rows = [{"step": s["step"], "removed": s["dropped"] + s["failed"], **s["reasons"]} for s in steps]
    return RecordedAnswer(text="Steps that took out pairs:", fact="steps", rows=rows) if rows else None


def _processing(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    rows = [
        {"step": s["step"], "in": s["rows_in"], **{name: s[name] for name in ("kept", "dropped", "failed", "merged")}}
        for s in facts.steps
    ]
    return RecordedAnswer(text="Every step, and what became of the pairs:", fact="steps", rows=rows)


def _has_pictures(facts: Facts, _provider: Provider) -> bool:
    return facts.pictures > 0


def _has_others(facts: Facts, provider: Provider) -> bool:
    return bool(provider.other_sources) or _in("other")(facts, provider)


def _modality_of_captions(facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    return RecordedAnswer(text="Text", fact="captions") if facts.made_captions() else None


def _modality_of_crawled(_facts: Facts, _provider: Provider) -> RecordedAnswer | None:
    return RecordedAnswer(text="Image", fact="sources")


ANSWERS: Mapping[str, Answering] = {
    "modalities": _modalities, "text_size": _text_size, "image_size": _image_size, "latest": _latest,
    "languages": _languages, "has_public": _has("public"), "has_licensed": _has("licensed"),
    "has_third_party": _has("third_party"), "has_other": _has("other"),
    "modalities_public": _modalities_of("public"), "modalities_licensed": _modalities_of("licensed"),
    "modalities_third_party": _modalities_of("third_party"), "modalities_users": _modalities_of("users"),
    "list_public": _list_of("public"), "list_third_party": _list_of("third_party"), "list_users": _list_of("users"),
    "list_other": _list_of("other"), "crawled": _crawled, "agent": _agent, "behaviour": _behaviour,
    "period": _period, "content": _content, "modality_crawled": _modality_of_crawled, "domains": _relevant_domains,
    "synthetic": _synthetic, "modality_synthetic": _modality_of_captions, "caption_models": _caption_models,
    "reservations": _reservations, "illegal": _illegal, "processing": _processing,
}  # fmt: skip
"""What the records answer, by the name in the template's table."""
CONDITIONS: Mapping[str, Callable[[Facts, Provider], bool]] = {
    "": lambda _facts, _provider: True, "pictures": _has_pictures, "public": _in("public"),
    "licensed": _in("licensed"), "third_party": _in("third_party"), "crawled": _is_crawled, "users": _users,
    "users_source": _in("users"), "synthetic": _is_synthetic, "other": _has_others,
}  # fmt: skip
"""When a field is asked at all."""
