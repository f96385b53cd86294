"""Class-incremental GDA: any sessions in any order equal the joint fit."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.gda_incremental import GDAIncremental
from evenly.adapters.saved import from_arrays, to_arrays

LEARNED = ("weight_", "bias_", "counts_", "means_", "scatter_", "support_", "prototypes_")


def learned_in(sessions, **parameters):
    adapter = GDAIncremental(**parameters)
    for features, labels in sessions:
        assert adapter.partial_fit(features, labels) is adapter
    return adapter


def assert_same(found, expected):
    assert found.fallback_ == expected.fallback_
    assert found.encoder_ == expected.encoder_
    for name in LEARNED:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-8, atol=1e-8)


def grown(features, labels, stop):
    """The rows of the first `stop` classes with the prototypes of these."""
    here = np.flatnonzero(labels < stop)
    return replace(features.rows(here), prototypes=features.prototypes[:stop]), labels[here]


def test_one_session_is_gda(digits):
    support = digits.complete(0, 200)
    own, plain = GDAIncremental(alpha=0.7).fit(*support), GDA(alpha=0.7).fit(*support)
    query = digits.part(200, 300)[0]
    assert np.array_equal(own.decision_function(query), plain.decision_function(query))


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=6),
    seed=st.integers(0, 99),
    prior=st.sampled_from(["uniform", "train"]),
    scale=st.sampled_from(["rows", "published"]),
)
def test_any_sessions_in_any_order_equal_the_joint_fit(digits, cuts, seed, prior, scale):
    features, labels = digits.part(0, 300)
    parts = [slice(*ends) for ends in pairwise([0, *sorted(cuts), 300])]
    order = np.random.default_rng(seed).permutation(len(parts))
    found = learned_in(
        [(features.rows(parts[place]), labels[parts[place]]) for place in order], prior=prior, precision_scale=scale
    )
    assert_same(found, GDAIncremental(prior=prior, precision_scale=scale).fit(features, labels))


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(10)), steps=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_sessions_of_new_classes_equal_the_joint_fit(digits, order, steps):
    """Each session brings classes with their prototypes; the list grows until it holds all ten."""
    features, labels = digits.part(0, 300)
    joint = replace(features, prototypes=features.prototypes[list(order)])
    places = np.argsort(order)[labels]
    stops = sorted({*np.minimum(np.cumsum(steps), 10).tolist(), 10})
    sessions = []
    for start, stop in pairwise([0, *stops]):
        here = np.flatnonzero((places >= start) & (places < stop))
        sessions.append((replace(joint.rows(here), prototypes=joint.prototypes[:stop]), places[here]))
    assert_same(learned_in(sessions), GDAIncremental().fit(joint, places))


def test_views_are_rows_of_a_session(digits):
    features, labels = digits.complete(0, 100)
    halves = [(features.rows(part), labels[part]) for part in (slice(50), slice(50, 100))]
    found = learned_in(halves)
    assert_same(found, GDAIncremental().fit(features, labels))
    assert found.support_.sum() == 100
    assert found.counts_.sum() == 200


def test_fit_forgets_the_sessions(digits):
    first, second = digits.part(0, 100), digits.part(100, 200)
    again = learned_in([first]).fit(*second)
    assert_same(again, GDAIncremental().fit(*second))


def test_a_saved_adapter_goes_on_learning(digits):
    first, second = digits.part(0, 100), digits.part(100, 200)
    adapter = learned_in([first])
    learned = {"encoder_": adapter.encoder_, "fallback_": adapter.fallback_}
    loaded = from_arrays("gda_incremental", to_arrays(adapter), adapter.get_params(), learned=learned)
    assert_same(loaded.partial_fit(*second), learned_in([first, second]))


def test_a_fallback_ends_when_enough_rows_have_come(digits):
    features, labels = digits.part(0, 200)
    adapter = learned_in([(features.rows(slice(0)), labels[:0])])
    assert adapter.fallback_ == "zero-shot: no support rows"
    adapter.partial_fit(features.rows(slice(8)), labels[:8])
    assert adapter.fallback_ == "identity covariance: 8 rows are not more than 10 classes"
    adapter.partial_fit(features.rows(slice(8, 200)), labels[8:])
    assert_same(adapter, GDAIncremental().fit(features, labels))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: replace(f, prototypes=None), MissingFeaturesError, "got none for `prototypes`"),
        (lambda f: replace(f, prototypes=f.prototypes[:9]), InvalidFeaturesError, "begin with the 10 of the earlier"),
        (lambda f: f.with_prototypes(f.prototypes[::-1]), InvalidFeaturesError, "begin with the 10 of the earlier"),
        (lambda f: replace(f, encoder="other"), InvalidFeaturesError, "`encoder` must be `pixels`"),
    ],
)
def test_a_session_that_does_not_follow_is_refused_and_changes_nothing(digits, change, error, message):
    features, labels = digits.part(0, 100)
    adapter = learned_in([(features, labels)])
    with pytest.raises(error, match=message):
        adapter.partial_fit(change(features), labels)
    with pytest.raises(InvalidFeaturesError, match="`labels` must lie in 0 to 9"):
        adapter.partial_fit(features, labels + 1)
    assert_same(adapter, GDAIncremental().fit(features, labels))
