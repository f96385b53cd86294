"""Divergences against scipy, one pair at a time."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax as reference
from scipy.stats import entropy

from evenly.adapters.evaluation.measures.classification import log_softmax
from evenly.adapters.forms.divergence import class_divergences, divergences


def scores(seed, n, k):
    return 3 * np.random.default_rng(seed).normal(size=(n, k))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9))
def test_divergences_equal_those_of_scipy_pair_by_pair(seed, k):
    rows, others = log_softmax(scores(seed, 4, k)), log_softmax(scores(seed + 1, 6, k))
    np.testing.assert_allclose(rows, reference(scores(seed, 4, k), axis=1), atol=1e-13)
    expected = [[entropy(np.exp(row), np.exp(other)) for other in others] for row in rows]
    np.testing.assert_allclose(divergences(rows, others), expected, atol=1e-12)


def test_class_divergences_are_their_sums_per_class():
    rows, others, labels = log_softmax(scores(0, 5, 7)), log_softmax(scores(1, 20, 7)), np.arange(20) % 3
    sums = np.stack([others[labels == c].sum(axis=0) for c in range(4)])
    found = class_divergences(rows, sums, np.bincount(labels, minlength=4))
    pairs = divergences(rows, others)
    np.testing.assert_allclose(found, np.stack([pairs[:, labels == c].sum(axis=1) for c in range(4)], 1), atol=1e-12)
    assert not found[:, 3].any()


def test_far_scores_stay_finite():
    assert np.array_equal(log_softmax(np.array([[0.0, 1e4]])), [[-1e4, 0.0]])
