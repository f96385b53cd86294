from evenly.descriptions.methods.negations import LABEL, TEMPLATES, Negations
from evenly.descriptions.texts.grounding import Subject

WHOLE = Subject(name="")


def test_the_templates_are_those_of_every_list_and_ask_nothing(asked, server):
    rows = asked(Negations(), "cat\ndog", "")
    assert [row["text"] for row in rows if row["verdict"] == "accepted"] == list(TEMPLATES)
    assert {row["class"] for row in rows} == {""}
    assert server.requests == []


def test_each_template_denies_and_holds_the_class_once():
    deny = {"no", "not", "without", "but", "missing", "other"}
    for template in TEMPLATES:
        assert template.count("{}") == 1
        assert deny & set(template.split())
        assert "fire truck" in template.format("fire truck")
    assert len(set(TEMPLATES)) == len(TEMPLATES)


def test_a_class_that_a_template_names_takes_only_that_template_away(asked):
    rows = asked(Negations(), "cat\nobject", "")
    refused = [row["text"] for row in rows if row["verdict"] == "rejected"]
    assert refused == ["a photo of an object other than a {}"]
    assert {row["reason"] for row in rows} == {"", "names_another_class"}


def test_it_is_labelled_as_the_weak_baseline_it_is():
    assert "weak baseline" in LABEL
    assert Negations().questions(WHOLE) == ()
