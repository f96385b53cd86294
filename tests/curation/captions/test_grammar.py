"""The score of grammar, and the disturbances that it learns from."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.captions.grammar import DISTURBANCES, disturb, fit_grammar
from evenly.curation.errors import ColumnsError

COLOURS = ("red", "green", "blue", "yellow", "brown", "white")
THINGS = ("fox", "owl", "cat", "teapot", "bicycle", "umbrella", "lighthouse", "hedgehog")
PLACES = ("in the snow", "on a wooden table", "near the old harbour", "under a tree", "beside two houses")
CAPTIONS = [
    form.format(colour=colour, thing=thing, place=place)
    for colour in COLOURS
    for thing in THINGS
    for place in PLACES
    for form in ("a {colour} {thing} {place}", "there is a {colour} {thing} {place}, seen from the side")
]
WORDS = st.lists(st.sampled_from(["a", "dog", "runs", "fast", "over", "there"]), max_size=12).map(" ".join)


@given(WORDS, st.sampled_from([*DISTURBANCES]))
def test_a_disturbance_changes_words_as_its_name_says_and_always_the_same(caption, kind):
    disturbed = disturb(caption, kind)
    assert disturbed == disturb(caption, kind)
    words = caption.split()
    if disturbed is None:
        return
    assert len(words) > 1
    before, after = Counter(words), Counter(disturbed.split())
    if kind in {"swap", "shuffle"}:
        assert after == before
    elif kind == "remove":
        assert not after - before
        assert 1 <= sum((before - after).values()) <= 2
    else:
        assert not before - after
        assert 1 <= sum((after - before).values()) <= (3 if kind == "repeat" else 1)


@pytest.mark.parametrize("kind", [*DISTURBANCES])
@pytest.mark.parametrize("caption", ["", "dog", "  "])
def test_a_caption_of_one_word_is_not_disturbed(caption, kind):
    assert disturb(caption, kind) is None


def test_disturbed_captions_that_it_has_not_seen_are_caught_and_few_as_written():
    score = fit_grammar(CAPTIONS)
    assert set(score.caught) == {"false_alarms", *DISTURBANCES}
    assert score.caught["false_alarms"] < 0.1
    assert all(score.caught[kind] > 0.7 for kind in DISTURBANCES if kind != "remove")
    assert score.caught["remove"] > 0.4  # a fox without its color is still a fox
    good, bad = score.probabilities(["a red lantern in the snow", "snow the in lantern red a"])
    assert good > 0.5 > bad


def test_order_of_the_captions_says_nothing():
    one, two = fit_grammar(CAPTIONS), fit_grammar([*reversed(CAPTIONS), CAPTIONS[0]])
    assert one.caught == two.caught
    assert np.array_equal(one.probabilities(CAPTIONS[:50]), two.probabilities(CAPTIONS[:50]))


def test_too_few_captions_are_refused():
    with pytest.raises(ColumnsError, match="at least 100 different captions"):
        fit_grammar(["a dog"] * 500)


def test_no_captions_have_no_probabilities():
    assert fit_grammar(CAPTIONS).probabilities([]).tolist() == []
