import json

import pytest

from evenly.descriptions.methods.contexts import FACTORS, Contexts
from evenly.descriptions.texts.grounding import Subject

WHOLE = Subject(name="")


def of_factor(request):
    (factor,) = request["response_format"]["json_schema"]["schema"]["properties"]
    return factor


def test_each_factor_gives_templates_about_the_list_as_a_whole(asked, server):
    rows = asked(Contexts(), "cat\ndog", lambda request: {of_factor(request): [f"with much {of_factor(request)}."]})
    assert [(row["class"], row["other"], row["text"]) for row in rows] == [
        ("", factor, f"a photo of a {{}}, with much {factor}.") for factor in FACTORS
    ]
    assert len(server.requests) == len(FACTORS)


def test_no_class_stands_in_a_question_so_an_added_class_asks_nothing(asked, server):
    def answer(request):
        return {of_factor(request): [f"{place} {of_factor(request)}" for place in ("near", "far", "odd", "plain")]}

    asked(Contexts(), "cat\ndog", answer)
    assert not any("cat" in json.dumps(request) for request in server.requests)
    server.requests.clear()
    asked(Contexts(), "cat\ndog\nhen", answer)
    assert server.requests == []


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("beside a dog", "names_another_class"),
        ("without any light", "negation"),
        ("in {} light", "markup"),
        ("on a table beside a lamp in a large room", "too_long"),
        ("под луной", "wrong_language"),
        ("", "empty"),
        ("As an AI I cannot see", "refusal"),
    ],
)
def test_each_phrase_is_checked(asked, phrase, reason):
    rows = asked(Contexts(), "cat\ndog", lambda request: {of_factor(request): [phrase]})
    assert {row["reason"] for row in rows} == {reason}


def test_an_answer_about_another_factor_is_refused(asked):
    rows = asked(Contexts(), "cat", {"style": ["as a drawing"]})
    assert [(row["reason"], row["text"]) for row in rows] == [
        ("" if factor == "style" else "wrong_schema", "a photo of a {}, as a drawing." if factor == "style" else "")
        for factor in FACTORS
    ]


def test_a_small_model_is_not_asked(asked, server):
    rows = asked(Contexts(small_model=True), "cat\nstreet", "")
    assert server.requests == []
    assert {row["other"] for row in rows} == set(FACTORS)
    assert [row["phrase"] for row in rows if row["verdict"] == "rejected"] == ["in the street"]
    assert len({row["text"] for row in rows}) == len(rows) == sum(len(factor.values) for factor in FACTORS.values())
