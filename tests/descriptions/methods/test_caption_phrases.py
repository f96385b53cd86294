"""Phrases of captions that separate classes, held to the equations of the paper that they are counted by."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.descriptions.methods.caption_phrases import (
    LEAST_CAPTIONS,
    LEAST_Z,
    MOST_PHRASES,
    CaptionPhrases,
    phrases_of,
    separating_phrases,
)
from evenly.descriptions.texts.grounding import Subject

WORDS = ["barn", "owl", "red", "ship", "of", "the", "sail"]
CAPTIONS = st.lists(st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join), max_size=12)
OWLS = ["a barn owl", "the barn owl at night", "an owl on a branch", "a photo of a barn owl"]
SHIPS = ["a ship with a red sail", "a red sail", "a photo of a ship", "ship, red sail"]


def by_class(phrases):
    return {name: [phrase.phrase for phrase in phrases if phrase.class_name == name] for name in ("owls", "ships")}


def test_phrases_are_those_that_one_class_alone_says_often():
    found = by_class(separating_phrases({"owls": OWLS * 3, "ships": SHIPS * 3}))
    assert found["owls"][:2] == ["owl", "barn owl"]
    assert set(found["ships"]) >= {"ship", "red sail"}
    assert not {"photo", "a", "of a"} & {*found["owls"], *found["ships"]}


def test_of_phrases_in_the_same_captions_one_is_told():
    found = by_class(separating_phrases({"owls": ["barn owl", "barn owl by day"] * 5, "ships": SHIPS * 3}))
    assert sum("barn" in phrase and "day" not in phrase for phrase in found["owls"]) == 1


def test_phrases_neither_begin_nor_end_with_small_words():
    assert phrases_of("The flag of Peru") == {"flag", "peru", "flag of peru"}


@given(owls=CAPTIONS, ships=CAPTIONS)
def test_each_phrase_has_the_z_score_of_the_paper(owls, ships):
    counts = {
        name: Counter(p for text in texts for p in phrases_of(text)) for name, texts in (("o", owls), ("s", ships))
    }
    for phrase in separating_phrases({"o": owls, "s": ships}):
        own, other = counts[phrase.class_name], counts["s" if phrase.class_name == "o" else "o"]
        words = sorted({*own, *other})
        y_i, y_j = (np.array([held[word] for word in words], float) for held in (own, other))
        prior = (y_i + y_j) * y_i.sum() / (y_i + y_j).sum()
        a, b = y_i + prior, y_j + prior  # equations 15, 16, 19 and 22, with omega of every word
        delta = np.log(a / (a.sum() - a)) - np.log(b / (b.sum() - b))
        z = delta / np.sqrt(1 / a + 1 / b)
        place = words.index(phrase.phrase)
        assert phrase.z == pytest.approx(z[place], abs=1e-9)
        assert (phrase.captions, phrase.elsewhere) == (own[phrase.phrase], other[phrase.phrase])
        assert phrase.z >= LEAST_Z
        assert phrase.captions >= LEAST_CAPTIONS


@given(owls=CAPTIONS, ships=CAPTIONS, seed=st.randoms())
def test_the_order_of_captions_and_classes_does_not_count(owls, ships, seed):
    found = separating_phrases({"o": owls, "s": ships})
    shuffled = seed.sample(owls, len(owls))
    again = separating_phrases({"s": ships, "o": shuffled})
    assert sorted(found, key=str) == sorted(again, key=str)
    assert all(sum(phrase.class_name == name for phrase in found) <= MOST_PHRASES for name in ("o", "s"))


def test_without_phrases_a_class_says_so():
    method = CaptionPhrases()
    assert method.known(Subject(name="owls", phrases=("barn owl",))) == ("barn owl",)
    assert (method.known(Subject(name="owls")), method.why_none(Subject(name="owls"))) == ((), "no_phrase")


def test_a_phrase_that_names_another_class_is_refused(asked):
    rows = asked(CaptionPhrases(), "owls\nships", {}, phrases={"owls": ["barn owl", "ship"], "ships": ["red sail"]})
    assert {row["phrase"]: row["reason"] for row in rows} == {
        "barn owl": "",
        "ship": "names_another_class",
        "red sail": "",
    }
