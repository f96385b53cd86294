"""Each field of the template, and where its answer is from; what is still to be said; the parts of domains."""

from dataclasses import replace
from datetime import date

import pytest

from evenly.curation.publication.answers import ANSWERS, CONDITIONS, listed_domains, size_range
from evenly.curation.publication.eu_gpai import FIELDS
from evenly.curation.publication.facts import NOT_READ, Facts
from evenly.curation.publication.provider import Provider
from evenly.curation.publication.summary import TITLES, Summary, summarize

DAY = date(2026, 11, 30)


def domain(number: int) -> dict[str, object]:
    return {"domain": f"d{number}.org", "pairs": 1, "pictures": 1, "bytes": 1000 - number}


STEP = {"question": "?", "rows_in": 10, "kept": 8, "dropped": 2, "failed": 0, "merged": 0}
FACTS = Facts(
    build="b-1", content_hash="00", created="2026-11-30T00:00:00+00:00", recipe="b", seed=7, version="1",
    pairs=8, pictures=7, picture_bytes=700, words=80,
    sources=[{"source": "web", "kind": "downloaded", "pairs": 6, "pictures": 5, "bytes": 500},
             {"source": "photos", "kind": "at hand", "pairs": 2, "pictures": 2, "bytes": 200}],
    period=("2026-01-02", "2026-03-04"), agent="evenly", languages={"en": 7, "": 1},
    domains=[domain(number) for number in range(25)],
    steps=[{"step": "collect", **STEP, "reasons": {}}, {"step": "safety", **STEP, "reasons": {"unsafe": 2}}],
    respected=["robots", "iptc"], removed={"robots": 3}, reserved={NOT_READ: 2, "noml": 1},
    licenses={"https://a.test/l": 2}, copyrights=3, captions={"original": 5, "seen": 3},
    models=[{"role": "captioner seen", "kind": "seen", "name": "a-model", "identity": None}],
)  # fmt: skip
FULL = Provider.model_validate(
    {
        "name": "A", "contact": "a@a.org", "representative": "B", "summary_version": "1.0",
        "model": {"names": ["m-1"], "dependencies": "none", "placed_on_market": "2027-01-31"},
        "text_content": "captions", "image_content": "photographs", "latest_data": "photos: 2025", "languages": "one",
        "characteristics": "none", "other_public": "none", "licensed_agreements": False, "other_third_party": "none",
        "crawler": {"purposes": "training", "behaviour": "slow", "content": "pictures"},
        "user_data": {"interactions": True, "services": False, "description": "a shop"},
        "synthetic": {"used": True, "market_models": "none", "other_models": "ours"},
        "other_sources": True, "other_description": "scans", "code_of_practice": True, "reservations": "a list",
        "illegal_content": "hashes", "other": "nothing", "comments": {"2.3": "a comment"},
        "sources": {"web": {"section": "public", "title": "Pool"}, "photos": {"section": "third_party"}},
    }
)  # fmt: skip
# What answers each field of the template: facts of the records, the path in the provider's file, or both.
SOURCES = {
    "1.1 Provider name": ("", "name"),
    "1.1 Contact details": ("", "contact"),
    "1.1 Authorised representative name and contact details": ("", "representative"),
    "1.2 Versioned model name(s)": ("", "model.names"),
    "1.2 Model dependencies": ("", "model.dependencies"),
    "1.2 Date of placement of the model on the Union market": ("", "model.placed_on_market"),
    "1.3 Modalities": ("pictures", ""),
    "1.3 Training data size: text": ("words", ""),
    "1.3 Types of content: text": ("", "text_content"),
    "1.3 Training data size: image": ("pictures", ""),
    "1.3 Types of content: image": ("", "image_content"),
    "1.3 Latest date of data acquisition or collection": ("period", "latest_data"),
    "1.3 Linguistic characteristics of the overall training data": ("languages", "languages"),
    "1.3 Other relevant characteristics": ("", "characteristics"),
    "2.1 Were publicly available datasets used?": ("sources", ""),
    "2.1 Modalities of these": ("sources", ""),
    "2.1 Large publicly available datasets": ("sources", ""),
    "2.1 Other publicly available datasets": ("", "other_public"),
    "2.2.1 Are there commercial licence agreements with rightsholders?": ("sources", "licensed_agreements"),
    "2.2.1 Modalities of these": ("sources", ""),
    "2.2.2 Were private datasets of other third parties obtained?": ("sources", ""),
    "2.2.2 Modalities of these": ("sources", ""),
    "2.2.2 Those that are publicly known": ("sources", ""),
    "2.2.2 Those that are not publicly known": ("", "other_third_party"),
    "2.3 Were crawlers used by the provider or on its behalf?": ("sources", ""),
    "2.3 Crawler names": ("agent", ""),
    "2.3 Purposes of the crawlers": ("", "crawler.purposes"),
    "2.3 Behaviour of the crawlers": ("respected", "crawler.behaviour"),
    "2.3 Period of data collection": ("period", ""),
    "2.3 Type of content and online sources crawled": ("domains", "crawler.content"),
    "2.3 Modalities covered": ("sources", ""),
    "2.3 Most relevant domain names crawled": ("domains", ""),
    "2.4 Was data of interactions of users with the model used?": ("", "user_data.interactions"),
    "2.4 Was data of users of your other services used?": ("", "user_data.services"),
    "2.4 Services that it came from": ("sources", "user_data.description"),
    "2.4 Modalities covered": ("sources", ""),
    "2.5 Was synthetic data made by the provider or on its behalf?": ("captions", "synthetic.used"),
    "2.5 Modality of the synthetic data": ("captions", ""),
    "2.5 General-purpose models on the market that made it": ("", "synthetic.market_models"),
    "2.5 Other models that made it": ("models", "synthetic.other_models"),
    "2.6 Were other sources used?": ("sources", "other_sources"),
    "2.6 What these are": ("sources", "other_description"),
    "3.1 Did you sign the Code of Practice, with its commitments on reservations?": ("", "code_of_practice"),
    "3.1 Measures to respect reservations of rights": ("removed", "reservations"),
    "3.2 Measures to remove illegal content": ("steps", "illegal_content"),
    "3.3 Other information about the processing": ("steps", "other"),
}


def told(facts: Facts = FACTS, provider: Provider = FULL) -> Summary:
    return summarize(facts, provider, today=DAY)


def answers(summary: Summary) -> dict[str, object]:
    return {f"{field.number} {field.question}": field for field in summary.fields}


@pytest.mark.parametrize("name", SOURCES)
def test_every_field_of_the_template_is_answered_by_what_stands_here(name):
    (field,) = (one for one in FIELDS if f"{one.number} {one.question}" == name)
    fact, provider = SOURCES[name]
    assert field.provider == provider
    sections = {"public", "licensed", "third_party", "users", "other"}
    section = next((one for one in sections if field.records.endswith(one)), "public")
    stated = FULL.model_copy(
        update={"sources": {n: FULL.sources["web"].model_copy(update={"section": section}) for n in ("web", "photos")}}
    )
    answer = ANSWERS[field.records](FACTS, stated) if field.records else None
    assert (answer.fact if answer else "") == fact
    assert not fact or hasattr(FACTS, fact)


def test_the_table_has_these_fields_and_no_others():
    assert [f"{field.number} {field.question}" for field in FIELDS] == [*SOURCES]
    assert {field.number for field in FIELDS} == {*TITLES}
    assert {field.records for field in FIELDS} - {""} == {*ANSWERS}
    assert {field.condition for field in FIELDS} == {*CONDITIONS}


def test_where_all_is_said_nothing_must_be_said():
    assert not [field.question for field in told().fields if field.must_say]


def test_without_a_provider_each_answer_that_no_record_has_must_be_said():
    fields = told(provider=Provider()).fields
    without = {f"{field.number} {field.question}" for field in fields if field.must_say}
    expected = {name for name, (fact, _) in SOURCES.items() if not fact}
    asked = {f"{field.number} {field.question}" for field in fields}
    unknown = {name for name in asked if name.endswith(("used?", "obtained?")) or "rightsholders?" in name}
    assert without - unknown == (expected & asked) - unknown
    assert all(field.must_say.startswith("You must say: ") for field in fields if field.must_say)
    assert "2.1 Were publicly available datasets used?" in without


def test_each_number_names_the_command_that_computes_it_again():
    for field in told().fields:
        assert bool(field.recorded) == bool(field.command)
        assert not field.command or field.command == f"evenly facts b-1 {field.fact}"


@pytest.mark.parametrize(
    ("domains", "small", "listed"),
    [(25, False, 3), (1, False, 1), (0, False, 0), (25, True, 2), (30_000, True, 1000), (30_000, False, 3000)],
)
def test_the_largest_domains_are_listed(domains, small, listed):
    facts = replace(FACTS, domains=[domain(number) for number in range(domains)])
    assert [*listed_domains(facts, small=small)] == facts.domains[:listed]


@pytest.mark.parametrize(
    ("modality", "size", "words"),
    [
        ("text", 10**9 - 1, "less than 1 billion tokens"), ("text", 10**9, "1 billion to 10 trillion tokens"),
        ("text", 10**13, "more than 10 trillion tokens"), ("image", 999_999, "less than 1 million images"),
        ("image", 10**6, "1 million to 1 billion images"), ("image", 10**9, "more than 1 billion images"),
    ],
)  # fmt: skip
def test_sizes_lie_in_the_ranges_of_the_template(modality, size, words):
    assert size_range(modality, size) == words


def test_where_words_may_be_tokens_of_either_range_both_are_named():
    text = answers(told(replace(FACTS, words=400_000_000)))["1.3 Training data size: text"].recorded
    assert "less than 1 billion tokens, or 1 billion to 10 trillion tokens: count the tokens" in text


def test_captions_alone_are_no_crawl():
    facts = replace(
        FACTS, pictures=0, picture_bytes=0, period=None, agent=None, domains=[], respected=None, removed={},
        reserved=None, sources=[{"source": "t", "kind": "captions alone", "pairs": 8, "pictures": 0, "bytes": 0}],
    )  # fmt: skip
    fields = answers(told(facts, Provider()))
    assert fields["2.3 Were crawlers used by the provider or on its behalf?"].recorded == "No."
    assert "2.3 Crawler names" not in fields
    assert fields["1.3 Modalities"].recorded == "Text"


def test_what_pictures_reserve_all_the_same_is_told():
    field = answers(told())["3.1 Measures to respect reservations of rights"]
    assert [(row["mechanism"], row["honoured"], row["pairs removed"]) for row in field.rows] == [
        ("robots", "yes", 3), ("iptc", "yes", 0), ("noml", "no", 0),
    ]  # fmt: skip
    assert "not read 2, noml 1" in field.recorded
