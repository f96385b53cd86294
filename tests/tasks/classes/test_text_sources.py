from dataclasses import replace

import pytest

from evenly.adapters.class_texts import ClassTexts, in_words, text_sources
from evenly.descriptions.methods.negations import LABEL

ABOUT = {"negations": LABEL}
RULE = ClassTexts(
    texts={
        "description": {"cat": ["cat, which has fur", "cat, which has a tail"], "dog": ["dog, which has fur"]},
        "contexts": {"": ["a photo of a {}, at night.", "a drawing of a {}"]},
        "near_misses": {"cat": ["lynx"], "dog": ["lynx", "wolf"]},
    },
    contexts=("a drawing of a {}",),
    negations=("a photo with no {}",),
)


def test_every_text_counts_once_with_who_gave_it():
    rows = [(row["use"], row["source"], row["texts"]) for row in text_sources(RULE, ABOUT)]
    assert rows == [
        ("prototypes", "description", 3),
        ("contexts", "recipe", 1),
        ("contexts", "contexts", 1),
        ("negations", "recipe", 1),
        ("rejections", "near_misses", 2),
    ]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({}, "contexts: 1 by hand in the recipe, 1 by the method contexts"),
        ({}, "rejections: 2 by the method near_misses"),
        (
            {"pair_texts": [["cat", "dog", "x"]], "pairs": {"top": 5, "pairs_asked": 1, "pairs_possible": 1_225}},
            "pair texts: 1 by the method differential (about 1 of 1,225 pairs of classes)",
        ),
        (
            {"texts": {"negations": {"": ["not a {}"]}}, "negations": []},
            f"negations: 1 by the method negations ({LABEL})",
        ),
    ],
)
def test_sentences_say_where_texts_beside_the_prototypes_come_from(more, sentence):
    assert sentence in in_words(text_sources(replace(RULE, **more), ABOUT))


def test_pairs_without_texts_are_said_and_nothing_else_is():
    found = text_sources(ClassTexts(pair_texts=[], pairs={"top": 5}), ABOUT)
    assert in_words(found) == ["pair texts: 0 by the method differential (about 0 of 0 pairs of classes)"]
    assert in_words(text_sources(ClassTexts(), ABOUT)) == []
