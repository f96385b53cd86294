import json

import pytest

from evenly.descriptions.method import Surroundings
from evenly.descriptions.methods.near_misses import NearMisses
from evenly.descriptions.texts.grounding import Subject

NAMES = {"names": ["lynx", "civet", "fossa"]}
GLOSSES = {
    "puma": "large American feline resembling a lion",
    "kitten": "young domestic cat",
    "sofa": "an upholstered seat",
    "lynx": "short-tailed wildcats with usually tufted ears",
}
CAT = Subject(
    name="cat", synset="n1", lemmas=("cat", "true cat"), gloss="feline mammal kept as a pet", neighbours=("puma",)
)
AROUND = Surroundings(
    classes=("cat", "dog"), names=("cat", "true cat", "dog", "hound"), gloss_of=GLOSSES.get, grounded=True
)


def test_names_are_texts_as_they_are(asked):
    rows = asked(NearMisses(), "cat", NAMES)
    assert [(row["class"], row["text"], row["verdict"]) for row in rows] == [
        ("cat", name, "accepted") for name in NAMES["names"]
    ]


def test_neighbours_come_before_what_the_model_says(asked, grounding):
    rows = asked(NearMisses(), "tiger\ndog", NAMES, grounding=grounding)
    of_tiger = [row for row in rows if row["class"] == "tiger"]
    known = [row["text"] for row in of_tiger if row["request_id"] is None]
    assert {"leopard", "jaguar"} <= set(known)
    assert [row["text"] for row in of_tiger if row["request_id"] is not None] == NAMES["names"]


def test_a_neighbour_that_is_a_class_or_a_kind_of_one_is_refused(asked, grounding):
    rows = asked(NearMisses(small_model=True), "tiger\nleopard", NAMES, grounding=grounding)
    reasons = {row["text"]: row["reason"] for row in rows if row["class"] == "tiger"}
    assert reasons["leopard"] == "names_another_class"
    assert reasons["jaguar"] == ""


@pytest.mark.parametrize(
    ("phrase", "reason", "of_a_small_model"),
    [
        ("hound", "names_another_class", "names_another_class"),
        ("true cats", "names_own_class", "names_own_class"),
        ("sea dog", "names_another_class", "names_another_class"),
        ("kitten", "kind_of_class", "kind_of_class"),
        ("feline", "in_definition", "in_definition"),
        ("sofa", "", "another_kind"),
        ("wibble", "", "unknown_name"),
        ("puma", "", ""),
    ],
)
def test_what_is_refused_beyond_the_checks(phrase, reason, of_a_small_model):
    assert NearMisses().refuse(CAT, phrase, AROUND) == reason
    assert NearMisses(small_model=True).refuse(CAT, phrase, AROUND) == of_a_small_model


def test_a_neighbour_is_no_kind_of_another_class():
    around = Surroundings(classes=("lion", "feline"), names=("lion", "feline"), gloss_of=GLOSSES.get, grounded=True)
    assert NearMisses().refuse(CAT, "puma", around) == "kind_of_class"
    around = Surroundings(classes=("lion",), names=("lion",), gloss_of=GLOSSES.get, grounded=True)
    assert NearMisses().refuse(CAT, "puma", around) == ""  # "resembling a lion"


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("<b>{{lynx}}</b>", "markup"),
        ("I'm sorry", "refusal"),
        ("a very big cat of some kind", "too_long"),
        ("рысь", "wrong_language"),
        ("", "empty"),
    ],
)
def test_each_name_is_checked(asked, phrase, reason):
    assert [row["reason"] for row in asked(NearMisses(), "cat", {"names": [phrase]})] == [reason]


def test_a_small_model_is_asked_only_where_neighbours_are_few(asked, server, grounding):
    asked(NearMisses(small_model=True), "tiger\nblorptrix", NAMES, grounding=grounding)
    (request,) = server.requests
    assert json.loads(request["messages"][0]["content"].partition("\n")[0])["class"] == "blorptrix"


def test_without_a_gloss_no_neighbours():
    assert NearMisses(gloss=False).known(CAT) == ()
    assert NearMisses().known(CAT) == ("puma",)
