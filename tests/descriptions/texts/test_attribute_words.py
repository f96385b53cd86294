import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.texts.vocabularies import (
    ATTRIBUTE_WORDS,
    adds_attribute,
    attributes_in,
    types_of,
    with_article,
)


@pytest.mark.parametrize(
    ("gloss", "found"),
    [
        (
            "large feline of forests having a tawny coat with black stripes; endangered",
            [("size", "large"), ("part", "tawny coat"), ("pattern", "black stripes")],
        ),
        ("a wheeled vehicle that has two wheels and pedals", [("part", "two wheels"), ("part", "pedals")]),
        ("fruit of a large tree, red inside", [("color", "red")]),
        ("short-legged bird with wings modified as flippers", [("part", "wings")]),
        ("a table made of wood without a brown drawer", [("material", "wood")]),
        ("a table not brown", []),
        ("a bowl with an unpainted rim", []),
        ("", []),
    ],
)
def test_attributes_in_a_definition(gloss, found):
    assert list(attributes_in(gloss)) == found


SAID = "having with no red long tail stripes , ; of the that wheel large-eyed é{"


@given(st.lists(st.sampled_from(SAID.split())))
def test_whatever_a_definition_says_its_attributes_are_words_of_it(words):
    gloss = " ".join(words)
    for kind, value in attributes_in(gloss):
        assert kind in ATTRIBUTE_WORDS or kind == "part"
        assert {*value.split()} <= {*re.findall("[a-z-]+", gloss)}


@pytest.mark.parametrize(
    ("text", "adds"),
    [
        ("a tiger with a tawny coat", False),
        ("a tiger with red stripes", True),
        ("a long tiger", True),
        ("a black tiger", False),
        ("a star-shaped tiger", True),
    ],
)
def test_an_attribute_is_added_where_the_facts_do_not_name_it(text, adds):
    assert adds_attribute(text, "a tawny coat with black stripes") is adds


def test_a_word_has_its_type():
    assert types_of("bright red") == {"color"}
    assert types_of("round wooden") == {"shape", "material"}
    assert types_of("tasty") == frozenset()


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("long tail", "a long tail"),
        ("orange beak", "an orange beak"),
        ("two wheels", "two wheels"),
        ("glass", "a glass"),
        ("soft fur", "soft fur"),
        ("the tail", "the tail"),
        ("", ""),
    ],
)
def test_articles(phrase, said):
    assert with_article(phrase) == said
