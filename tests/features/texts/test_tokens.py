"""Tokens are counted as a tokenizer makes them, beyond what its model reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.texts.tokens import TokenCounts

TEXTS = ["", "cat", "a cat!", "! ! !", "über 貓", "x1y2 " * 30, "a " * 500]


@pytest.mark.parametrize("name", ["tiny", "embedded"])
def test_a_text_takes_as_many_tokens_as_the_tokenizer_makes_of_it_given_room(name, request):
    encoder = request.getfixturevalue(name)
    room = 600
    tokens = encoder.opened.tokenizer(TEXTS, context_length=room).numpy()
    used = [int(np.flatnonzero(row != encoder.opened.pad_id)[-1]) + 1 for row in tokens]
    assert encoder.token_counts(TEXTS) == used
    assert max(used) < room
    assert encoder.truncated(TEXTS) == [count > encoder.context_length for count in used]
    assert encoder.token_counts([]) == []


def test_counts_of_several_batches_are_those_of_all_texts():
    counts = TokenCounts()
    assert counts.quantile(0.5) is None
    counts.add([3, 20, 21])
    counts.add([100])
    assert (counts.over(20), counts.over(100), counts.texts.total()) == (2, 0, 4)
    assert [counts.quantile(share) for share in (0.25, 0.5, 0.51, 1)] == [3, 20, 21, 100]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_count_that_covers_its_share(tokens, share):
    counts = TokenCounts()
    counts.add(tokens)
    quantile = counts.quantile(share)
    assert np.mean(np.array(tokens) <= quantile) >= share - 1e-12
    assert quantile in tokens
    assert np.mean(np.array(tokens) < quantile) < share
