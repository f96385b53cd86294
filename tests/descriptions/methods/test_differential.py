import json

import pytest

from evenly.descriptions.method import Surroundings
from evenly.descriptions.methods.differential import Differential
from evenly.descriptions.texts.grounding import Subject

PAIR = (("cat", "dog"),)
TWO = "cat\nsnail\ndog"


def differences(*triples):
    return {"differences": [dict(zip(("attribute", "first", "second"), one, strict=True)) for one in triples]}


def test_both_sides_of_a_difference_become_texts_about_their_class_against_the_other(asked):
    answer = differences(("ears", "with pointed ears", "has floppy hair on ears"))
    rows = asked(Differential(), TWO, answer, pairs=PAIR)
    found = [(row["class"], row["other"], row["text"], row["phrase"], row["verdict"]) for row in rows]
    assert found == [
        ("cat", "dog", "cat, which has pointed ears", "ears: has pointed ears", "accepted"),
        ("snail", None, "", "", "failed"),
        ("dog", "cat", "dog, which has floppy hair on ears", "ears: has floppy hair on ears", "accepted"),
    ]
    assert rows[1]["reason"] == "no_pair"


def test_a_pair_is_asked_about_once_in_either_order(asked, server):
    answer = differences(*((f"part {n}", f"has {n} short legs", f"has {n} long legs") for n in range(4)))
    asked(Differential(), TWO, answer, pairs=(("dog", "cat"), ("cat", "dog")))
    (request,) = server.requests
    facts = json.loads(request["messages"][0]["content"].partition("\n")[0])
    assert facts == {"first": {"class": "cat"}, "second": {"class": "dog"}}


@pytest.mark.parametrize(
    ("first", "second", "reasons"),
    [
        ("has short legs", "with short legs", ("same_for_both", "same_for_both")),
        ("short legs", "short legs", ("same_for_both", "same_for_both")),
        ("has a dog's head", "has long legs", ("names_another_class", "")),
        ("has a cat's head", "has long legs", ("names_own_class", "")),
        ("has no tail", "has a tail", ("negation", "")),
        ("", "I'm sorry, but I can't", ("empty", "refusal")),
        ("<b>{{tail}}</b>", "has a tail" * 40, ("markup", "too_long")),
    ],
)
def test_each_phrase_is_checked(asked, first, second, reasons):
    rows = asked(Differential(), "cat\ndog", differences(("x", first, second)), pairs=PAIR)
    assert tuple(row["reason"] for row in rows) == reasons


def test_a_phrase_that_the_others_definition_says_as_well_is_no_difference():
    other = Subject(name="leopard", gloss="large feline having a tawny coat with black spots")
    subject = Subject(name="tiger", against=other)
    around = Surroundings(classes=("tiger", "leopard"), names=())
    assert Differential().refuse(subject, "has a tawny coat", around) == "fits_both"
    assert Differential().refuse(subject, "has a tawny coat with stripes", around) == ""


def test_a_hostile_attribute_is_harmless_in_the_table(asked):
    answer = differences(("<script>{{x}}: \x1b[31m" + "a" * 90, "has short legs", "has long legs"))
    rows = asked(Differential(), "cat\ndog", answer, pairs=PAIR)
    assert all(row["phrase"].isprintable() and not set("<>{}[") & set(row["phrase"]) for row in rows)
    assert all(len(row["phrase"]) < 60 for row in rows)


@pytest.mark.parametrize(
    "answer",
    [
        {"differences": []},
        {"differences": [{"attribute": "ears", "first": "has ears"}]},
        {"differences": [{"attribute": "ears", "first": 1, "second": "has ears"}]},
        {"differences": "has ears"},
        {"pairs": [{"attribute": "a", "first": "b", "second": "c"}]},
    ],
)
def test_another_shape_is_one_rejected_row_of_the_first_class(asked, answer):
    rows = asked(Differential(), "cat\ndog", answer, pairs=PAIR)
    assert [(row["class"], row["other"], row["reason"]) for row in rows] == [("cat", "dog", "wrong_schema")]


def test_a_small_model_is_asked_about_each_alone(asked, server):
    def answer(request):
        facts = json.loads(request["messages"][0]["content"].partition("\n")[0])
        return {"features": [f"has the {'soft' if facts['class'] == 'cat' else 'rough'} tail"] * 3}

    rows = asked(Differential(small_model=True), "cat\ndog", answer, pairs=PAIR)
    accepted = [(row["class"], row["other"], row["text"]) for row in rows if row["verdict"] == "accepted"]
    assert accepted == [("cat", "dog", "cat, which has the soft tail"), ("dog", "cat", "dog, which has the rough tail")]
    assert len(server.requests) == 2


@pytest.mark.parametrize("pair", [("cat", "cat"), ("cat", "wolf"), ("cat",)])
def test_a_pair_must_be_two_classes_of_the_list(asked, pair):
    with pytest.raises(ValueError, match="`pairs` must hold two different classes"):
        asked(Differential(), TWO, "", pairs=(pair,))
