import html
import re
from dataclasses import replace

import pytest

from evenly.audit.publication.cards import about_build, model_card
from evenly.audit.publication.pages import as_markdown, as_page, plain_markdown
from evenly.audit.publication.provider import check_sources, new_provider_file, read_provider
from evenly.curation.publication.provider import Provider
from evenly.curation.publication.summary import summarize
from evenly.storage.errors import InputError
from tests.curation.publication.test_summary import DAY, FACTS, FULL, told

EVIL = "<script>alert(1)</script> | `x` **y** [a](javascript:b) \x1b[31m\u202e $z$"


def evil_facts():
    sources = [{**FACTS.sources[0], "source": EVIL}]
    domains = [{"domain": EVIL, "pairs": 1, "pictures": 1, "bytes": 1}]
    return replace(FACTS, sources=sources, domains=domains, licenses={EVIL: 1}, captions={EVIL: 1}, languages={EVIL: 1})


def test_markdown_and_page_have_every_answer():
    markdown, page = as_markdown(told()), html.unescape(re.sub(r"<[^>]+>", " ", as_page(told())))
    for field in told().fields:
        for text in (field.question, field.provided, field.recorded):
            assert plain_markdown(text) in markdown
            assert text in page
        assert field.command in markdown
    assert "a comment" in page
    assert "d0.org" in page


@pytest.mark.parametrize("write", [as_markdown, as_page])
def test_nothing_acts_in_what_is_told(write):
    provider = FULL.model_copy(update={"name": EVIL, "sources": {}, "comments": {"2.3": EVIL}})
    text = write(summarize(evil_facts(), provider, today=DAY))
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    if write is as_markdown:
        assert "[a](" not in text
        assert "**y**" not in text


def test_a_page_loads_nothing():
    page = as_page(told())
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!data:,)', page)


def test_nothing_acts_in_a_card():
    about = about_build(evil_facts())
    card = model_card({"adapter": EVIL, "build": EVIL, "metrics": {EVIL: 0.5}}, EVIL, evil_facts())
    for text in (about.text, card.partition("---\n\n")[2]):
        assert "<script" not in text
        assert "\x1b" not in text
        assert "[a](" not in text


def test_the_file_for_answers_is_one(tmp_path):
    path = tmp_path / "me.yaml"
    path.write_text(new_provider_file())
    assert read_provider(path) == Provider()
    path.write_text(re.sub(r"^# ?(?=[a-z_ ]+:|  )", "", new_provider_file(), flags=re.MULTILINE))
    stated = read_provider(path)
    named = set(stated.model_dump(exclude_unset=True))
    assert named == {*Provider.model_fields}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nam: x", "`nam` must be a field of the file; it is none"),
        ("model: {names: 3}", "`model.names` must be a valid list; got `3`"),
        ("sources: {a: {section: foo}}", "`sources.a.section` must be 'public', 'licensed'"),
        ("comments: {'9': x}", "`comments.9"),
        ("name: [", "`provider` must be a readable YAML file"),
        ("- 1", "`provider` must be"),
        ("name: ''", "`name` must have at least 1 character"),
    ],
)
def test_a_wrong_answer_is_named(tmp_path, text, words):
    path = tmp_path / "me.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_provider(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_source_that_the_build_does_not_have_is_named():
    provider = Provider.model_validate({"sources": {"wbe": {"section": "public"}}})
    with pytest.raises(InputError, match=r"got `wbe`\. It has: photos, web"):
        check_sources(provider, FACTS)


def test_the_numbers_of_card_croissant_and_summary_are_those_of_the_facts():
    about = about_build(FACTS)
    assert "| web | downloaded | 6 | 5 | 500 |" in about.text
    assert "8 image-text pairs of 7 pictures, kept of 10 rows" in about.description
    assert about.responsible["data_collection"] == about.description
    assert about.responsible["data_preprocessing_protocol"][1] == "safety: ? 10 in, 8 kept"
    assert about.made_by_models
    assert about.languages == ("en",)
    losses = "lost against zero-shot on test: none"
    card = model_card({"adapter": "tip", "build": "b-1", "metrics": {"accuracy": 0.5}, "losses": losses}, "tip", FACTS)
    assert f"\n{losses}\n" in card.replace("\\", "")
    assert about.text in card
    assert "| accuracy | 0.5 |" in card


def test_the_card_of_a_refined_encoder_has_its_rule_and_what_was_measured():
    rule = {"objective": "infonce", "lists": [{"list": "birds", "classes": ["x"]}, {"list": "trees"}]}
    card = {"base": "ab" * 32, "build": "b-1", "encoder": {"model": "m", "pretrained": "p"}, "seed": 3, "rule": rule}
    card["notes"] = {"strength": 0.5, "train_pairs": 1200}
    text = model_card(card, "birds", FACTS, [{"measure": "recall", "before": 0.5, "after": 0.625}])
    assert text.startswith("---\nlibrary_name: evenly\ntags: [clip, vision-language]\nlanguage: [en]\n")
    lines = [
        "# Refined encoder birds",
        "| encoder | m p |",
        "| objective | infonce |",
        "| lists | birds, trees |",
        "| strength | 0.5 |",
    ]
    for line in (*lines, "| recall | 0.5 | 0.625 |", "| train\\_pairs | 1,200 |", about_build(FACTS).text):
        assert line in text
    assert "which is not here" in model_card(card, "birds", None)
