import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.method import Surroundings
from evenly.descriptions.methods.description import Description, join
from evenly.descriptions.texts.grounding import Subject
from evenly.descriptions.texts.small_patterns import FEATURE

TIGER = Subject(name="tiger", synset="n02129604", lemmas=("tiger",), gloss="large feline of forests")


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("a striped coat", "tiger, which is a striped coat"),
        ("an orange cat", "tiger, which is an orange cat"),
        ("antlers", "tiger, which has antlers"),  # the paper's code: "which is antlers"
        ("amber eyes", "tiger, which has amber eyes"),
        ("has stripes", "tiger, which has stripes"),
        ("hash marks", "tiger, which has hash marks"),
        ("often orange", "tiger, which often orange"),
        ("may have a mane", "tiger, which may have a mane"),
        ("canines", "tiger, which has canines"),
        ("used in circuses", "tiger, which is used in circuses"),
        ("made of metal", "tiger, which is made of metal"),
        ("is large", "tiger, which is large"),
        ("Has stripes", "tiger, which Has stripes"),
        ("large paws", "tiger, which has large paws"),
    ],
)
def test_the_join_goes_by_the_first_whole_word(phrase, text):
    assert join("tiger", phrase) == text


def test_with_becomes_has():
    assert Description().read('{"features": ["with a long tail", "without fur"]}', "reply") == [
        "has a long tail",
        "without fur",
    ]


def test_the_gloss_is_in_the_question_unless_switched_off_or_missing():
    def asked(method, subject):
        return method.questions(subject)[0].messages[0].content

    assert "large feline" in asked(Description(), TIGER)
    assert "large feline" not in asked(Description(gloss=False), TIGER)
    assert "definition" not in asked(Description(), Subject(name="tiger"))


@given(st.text(max_size=60), st.none() | st.text(max_size=60))
def test_a_hostile_class_name_stays_quoted_data(name, gloss):
    content = Description().questions(Subject(name=name, gloss=gloss))[0].messages[0].content
    data, newline, instruction = content.partition("\n")
    assert newline
    assert json.loads(data)["class"] == name
    assert json.dumps(name, ensure_ascii=False) in data
    assert instruction == Description.instruction


def test_only_a_small_model_is_held_to_openings_and_known_words():
    small, large = Description(small_model=True), Description()
    pattern = small.questions(TIGER)[0].schema["properties"]["features"]["items"]["pattern"]
    assert pattern == f"^{FEATURE}$"
    assert "pattern" not in large.questions(TIGER)[0].schema["properties"]["features"]["items"]
    assert small.rules.known_words
    assert not large.rules.known_words


@pytest.mark.parametrize(
    ("phrase", "fits"),
    [("has a long tail", True), ("made of snow-white fur", True), ("a long tail", False), ("has", False)],
)
def test_the_openings(phrase, fits):
    assert bool(re.fullmatch(FEATURE, phrase)) is fits


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [
        ("has colors such as red", "vague"),
        ("has a surface like gold", "vague"),
        ("has shapes", "vague"),
        ("has black or white fur", "vague"),
        ("has a shaped tail", ""),
        ("has a color-changing tail", ""),
        ("has a long tail", ""),
    ],
)
def test_a_small_model_that_repeats_the_question_says_nothing(phrase, reason):
    around = Surroundings(classes=("tiger",), names=("tiger",))
    assert Description(small_model=True).refuse(TIGER, phrase, around) == reason
    assert Description().refuse(TIGER, phrase, around) == ""
