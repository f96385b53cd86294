"""The name-only support against a full sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import ParameterError
from evenly.adapters.features import unit_rows
from evenly.adapters.methods.tipx import retrieved_support
from evenly.adapters.training import row_keys


def made(n, *, d=4, seed=0):
    return unit_rows(np.random.default_rng(seed).normal(size=(n, d)))


@settings(max_examples=30, deadline=None)
@given(m=st.integers(1, 30), per_class=st.integers(1, 35), seed=st.integers(0, 99))
def test_the_nearest_rows_of_each_class_are_found(m, per_class, seed):
    prototypes, pool = made(5, seed=seed), made(m, seed=seed + 1)
    places, labels = retrieved_support(prototypes, pool, per_class)
    kept = min(m, per_class)
    assert labels.tolist() == [c for c in range(5) for _ in range(kept)]
    for c in range(5):
        scores = pool.astype(float) @ prototypes[c].astype(float)
        assert places[labels == c].tolist() == np.argsort(-scores)[:kept].tolist()


def test_ties_go_by_the_digest_of_the_row_whatever_the_order_of_the_pool():
    pool = np.array([[0.6, 0.8, 0], [0.6, -0.8, 0], [0.6, 0, 0.8], [0.6, 0, -0.8], [1, 0, 0]], dtype=np.float32)
    prototypes = np.array([[1, 0, 0]], dtype=np.float32)
    expected = [4, *sorted(range(4), key=lambda at: row_keys(pool)[at])][:3]
    for seed in range(5):
        mixed = np.random.default_rng(seed).permutation(5)
        places, _ = retrieved_support(prototypes, pool[mixed], 3)
        assert mixed[places].tolist() == expected


def test_scores_in_many_parts_give_the_same_rows(monkeypatch):
    prototypes, pool = made(7), made(40, seed=1)
    whole = retrieved_support(prototypes, pool, 3)
    monkeypatch.setattr("evenly.adapters.methods.tipx.SCORE_ENTRIES", 50)
    parts = retrieved_support(prototypes, pool, 3)
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


def test_an_empty_pool_gives_no_support():
    places, labels = retrieved_support(made(3), np.zeros((0, 4), np.float32), 2)
    assert len(places) == len(labels) == 0


def test_a_number_per_class_below_one_is_refused():
    with pytest.raises(ParameterError, match="`per_class` must be a whole number above 0; got 0"):
        retrieved_support(made(3), made(5), 0)
