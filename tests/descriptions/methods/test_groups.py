"""Classes of plural names, which stand for groups of things: how they are asked about, and which texts they get."""

import hashlib
import json

import pytest

from evenly.descriptions.method import GROUP
from evenly.descriptions.methods import chosen_methods
from evenly.descriptions.methods.description import Description
from evenly.descriptions.methods.llm_synonyms import LlmSynonyms
from evenly.descriptions.methods.synonyms import Synonyms
from evenly.descriptions.texts.grounding import Subject

RELEASED = ["description", "prompts", "questions", "differential", "synonyms", "llm_synonyms", "attributes"]
RELEASED += ["analogies", "near_misses", "contexts", "negations"]
CLASSES = "animals\nchildren\nshapes\nship"
GROUP_OF = Subject(name="animals", noun="animal", gloss="a living thing", lemmas=("animal", "beast"), synset="n1")


def verdicts(rows, name):
    return {row["phrase"]: row["reason"] for row in rows if row["class"] == name}


def test_a_group_is_asked_about_as_one_by_its_name_and_one_thing_of_it_by_a_small_model():
    (of_group,) = Description().questions(GROUP_OF)
    data, _, words = of_group.messages[0].content.partition("\n")
    assert json.loads(data) == {"class": "animals", "each": "animal", "definition": "a living thing"}
    assert words == f"{GROUP} {Description.instruction}"
    (of_one,) = Description(small_model=True).questions(GROUP_OF)
    one = Subject(name="animal", gloss="a living thing")
    assert of_one == Description(small_model=True).questions(one)[0]


def test_texts_of_a_group_speak_of_many(asked, grounding):
    phrases = {"features": ["has fur or feathers", "made of soft skin", "a furry coat", "often seen with a long tail"]}
    rows = asked(Description(small_model=True), "animals", phrases, grounding=grounding)
    assert [row["text"] for row in rows if row["verdict"] == "accepted"] == [
        "animals, which have fur or feathers",
        "animals, which are made of soft skin",
        "animals, which are a furry coat",
        "animals, which often seen with a long tail",
    ]
    assert Description(small_model=True).refuse(Subject(name="tiger"), "has fur or feathers", None) == "vague"


def test_a_group_is_named_by_its_singular_too(asked, grounding):
    phrases = {"features": ["has a child with white hair", "has a round shape", "has white hair"]}
    rows = asked(Description(), CLASSES, phrases, grounding=grounding)
    assert verdicts(rows, "children")["has a child with white hair"] == "names_own_class"
    assert verdicts(rows, "ship")["has a child with white hair"] == "names_another_class"
    assert verdicts(rows, "ship")["has white hair"] == ""


def test_a_class_called_by_a_word_for_an_attribute_is_not_named_where_others_have_one(asked, grounding):
    rows = asked(Description(), CLASSES, {"features": ["has a round shape"]}, grounding=grounding)
    assert verdicts(rows, "ship") == {"has a round shape": ""}
    assert verdicts(rows, "shapes") == {"has a round shape": "names_own_class"}


def test_other_names_of_a_group_are_its_singular_and_the_lemmas_of_that(asked, grounding):
    rows = asked(Synonyms(), CLASSES, {}, grounding=grounding)
    assert {"animal", "beast", "creature"} <= {row["text"] for row in rows if row["verdict"] == "accepted"}
    assert "child" in {row["text"] for row in rows if row["class"] == "children" and row["verdict"] == "accepted"}


def test_a_kind_of_a_group_is_no_name_of_it(asked, grounding):
    names = {"names": ["vehicle", "wheeled vehicle", "truck", "conveyance"]}
    rows = asked(LlmSynonyms(), "vehicles\nship", names, grounding=grounding)
    assert verdicts(rows, "vehicles") == {
        "vehicle": "",
        "wheeled vehicle": "kind_of_class",
        "truck": "kind_of_class",
        "conveyance": "in_definition",
    }


@pytest.mark.parametrize(("small_model", "address"), [(True, "d28b4934c6588458"), (False, "bb94cc5801d8373b")])
def test_requests_about_a_singular_name_are_those_whose_replies_are_stored(small_model, address):
    tiger = Subject(
        name="tiger",
        synset="n1",
        lemmas=("tiger", "cat"),
        gloss="large feline of forests",
        against=Subject(name="lion"),
    )
    methods = chosen_methods(RELEASED, small_model=small_model)
    questions = [asked.content(identity="", model="") for method in methods for asked in method.questions(tiger)]
    assert hashlib.sha256(json.dumps(questions, sort_keys=True).encode()).hexdigest()[:16] == address
