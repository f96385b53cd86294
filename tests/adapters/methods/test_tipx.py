"""TIP-X against the published formula in plain loops, its range, and its name-only support."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import MissingFeaturesError, ParameterError
from evenly.adapters.features import Features
from evenly.adapters.methods.tip import Tip
from evenly.adapters.methods.tipx import PUBLISHED_AXES, TIPX, retrieved_support
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.search import tune
from tests.adapters.conftest import labelled

WEIGHTS = {"alpha": 2.0, "beta": 5.0, "gamma": 1.5}


def softmax(scores):
    exponents = np.exp(scores - scores.max())
    return exponents / exponents.sum()


def affinities_and_divergences(query, support, prototypes, tau):
    """A and M (m, n) in float64, a pair of rows at a time."""
    texts = prototypes.astype(float)
    affinity, divergence = np.zeros((2, len(query), len(support)))
    for i, x in enumerate(query.astype(float)):
        for j, key in enumerate(support.astype(float)):
            row, other = softmax(texts @ x / tau), softmax(texts @ key / tau)
            affinity[i, j], divergence[i, j] = x @ key, np.sum(row * (np.log(row) - np.log(other)))
    return affinity, divergence


def naive(query, validation, support, labels, prototypes, *, alpha, beta, gamma, tau=0.5):
    """The published formula with the range of the validation rows."""
    seen_affinity, seen = affinities_and_divergences(validation, support, prototypes, tau)
    affinity, divergence = affinities_and_divergences(query, support, prototypes, tau)
    share = (divergence - seen.min()) / (seen.max() - seen.min())
    rescaled = share * (seen_affinity.max() - seen_affinity.min()) + seen_affinity.min()
    one_hot = np.eye(len(prototypes))[labels]
    cache = np.exp(-beta * (1 - affinity)) @ one_hot
    return 100 * query.astype(float) @ prototypes.astype(float).T + alpha * cache - gamma * rescaled @ one_hot


def test_logits_equal_the_published_formula_with_the_range_of_validation(digits):
    (support, labels), (validation, _), (query, _) = digits.part(0, 50), digits.part(100, 130), digits.part(500, 520)
    adapter = TIPX(**WEIGHTS).fit(support, labels).calibrate(validation)
    expected = naive(query.image, validation.image, support.image, labels, support.prototypes, **WEIGHTS)
    np.testing.assert_allclose(adapter._logits(query), expected, rtol=1e-9, atol=1e-9)
    assert adapter.fallback_ == ""


def test_the_range_is_that_of_validation_and_never_of_the_judged_rows(digits):
    support, validation, query = (digits.part(*rows)[0] for rows in ((0, 50), (100, 130), (500, 700)))
    labels = digits.part(0, 50)[1]
    adapter = TIPX(**WEIGHTS).fit(support, labels).calibrate(validation)
    affinity, divergence = affinities_and_divergences(validation.image, support.image, support.prototypes, 0.5)
    expected = [affinity.min(), affinity.max(), divergence.min(), divergence.max()]
    np.testing.assert_allclose(adapter.range_, expected, rtol=1e-9)
    whole = adapter.decision_function(query)
    np.testing.assert_allclose(adapter.decision_function(query.rows(slice(3))), whole[:3], rtol=1e-6)
    np.testing.assert_allclose(adapter.range_, expected, rtol=1e-9)


def test_without_validation_the_range_is_that_of_the_support_and_said(digits):
    support, labels = digits.part(0, 50)
    adapter = TIPX(**WEIGHTS).fit(support, labels)
    expected = naive(support.image, support.image, support.image, labels, support.prototypes, **WEIGHTS)
    np.testing.assert_allclose(adapter._logits(support), expected, rtol=1e-6, atol=1e-6)
    assert adapter.fallback_.startswith("range of the support rows themselves")
    assert adapter.calibrate(support.rows(slice(0))).fallback_.startswith("range of the support rows themselves")


@pytest.mark.parametrize("chunk_rows", [100, 64, 8192])
def test_the_last_partial_block_has_divergences_too(digits, chunk_rows):
    """The published loop leaves the last 250 % 100 rows at divergence 0."""
    (support, labels), (query, _) = digits.part(0, 130), digits.part(500, 750)
    with_term = TIPX(gamma=1.0).fit(support, labels)
    without = TIPX(gamma=0.0).fit(support, labels)
    terms = with_term.decision_function(query, chunk_rows=chunk_rows) - without.decision_function(query)
    lowest, highest, nearest, farthest = with_term.range_
    zero = -np.bincount(labels, minlength=10) * (lowest - (highest - lowest) / (farthest - nearest) * nearest)
    assert (np.abs(terms - zero).max(axis=1) > 1).all()


def test_the_range_in_many_chunks_is_that_of_one(digits, monkeypatch):
    (support, labels), (validation, _) = digits.part(0, 50), digits.part(100, 230)
    whole = TIPX().fit(support, labels).calibrate(validation).range_
    monkeypatch.setattr("evenly.adapters.forms.divergence.CHUNK_ENTRIES", 500)
    np.testing.assert_allclose(TIPX().fit(support, labels).calibrate(validation).range_, whole, rtol=1e-12)


def test_without_gamma_it_is_tip(digits):
    (support, labels), (query, _) = digits.complete(0, 100), digits.part(500, 600)
    plain = Tip(alpha=2.0, beta=5.0).fit(support, labels).decision_function(query)
    assert np.array_equal(TIPX(alpha=2.0, beta=5.0).fit(support, labels).decision_function(query), plain)


def test_with_gamma_the_order_of_rows_and_classes_does_not_matter(digits):
    (support, labels), (query, _) = digits.complete(0, 100), digits.part(500, 600)
    logits = TIPX(**WEIGHTS).fit(support, labels).decision_function(query)
    mixed = np.random.default_rng(0).permutation(100)
    again = TIPX(**WEIGHTS).fit(support.rows(mixed), labels[mixed]).decision_function(query)
    np.testing.assert_allclose(again, logits, rtol=1e-6, atol=1e-5)
    order = np.random.default_rng(1).permutation(10)
    plain = Features(image=support.image, views=support.views, prototypes=support.prototypes[order])
    moved = TIPX(**WEIGHTS).fit(plain, np.argsort(order)[labels])
    asked = query.with_prototypes(support.prototypes[order])
    np.testing.assert_allclose(moved.decision_function(asked), logits[:, order], rtol=1e-6, atol=1e-5)


def test_counting_agrees_with_prediction_over_all_three_weights(digits):
    (support, labels), (query, truth) = digits.part(0, 100), digits.part(500, 700)
    adapter = TIPX().fit(support, labels).calibrate(query)
    points = [
        {"alpha": alpha, "beta": beta, "gamma": gamma}
        for alpha in PUBLISHED_AXES["alpha"][::6]
        for beta in PUBLISHED_AXES["beta"][::40]
        for gamma in (0.0, *PUBLISHED_AXES["gamma"][::12])
    ]
    fast, slow = adapter.correct_counts(query, truth, points), Adapter.correct_counts(adapter, query, truth, points)
    assert len(set(slow.tolist())) > 10
    assert np.array_equal(fast, slow)


def test_the_published_grid_has_200000_points_and_is_searched_coarse_to_fine(digits):
    assert [len(values) for values in TIPX.grid.parameters.values()] == [20, 200, 50]
    assert PUBLISHED_AXES["alpha"][-1] == pytest.approx(47.505)
    assert PUBLISHED_AXES["beta"][-1] == pytest.approx(49.755)
    assert PUBLISHED_AXES["gamma"][-1] == pytest.approx(29.402)
    (train, labels), (validation, truth) = digits.part(0, 80), digits.part(400, 600)
    tuned = tune(TIPX, train=labelled(train, labels), validation=labelled(validation, truth))
    assert tuned.adapter.fallback_ == ""
    assert tuned.validation_accuracy > tuned.zero_shot_accuracy + 0.05
    assert len(tuned.curve) < 10000


def test_identical_support_rows_leave_a_constant_term(digits):
    support, labels = digits.part(0, 1)
    same = Features(image=np.repeat(support.image, 6, axis=0), prototypes=support.prototypes)
    adapter = TIPX(**WEIGHTS).fit(same, np.repeat(labels, 6))
    assert np.isfinite(adapter.decision_function(digits.part(500, 520)[0])).all()


def test_retrieved_support_is_the_nearest_rows_of_the_pool_whatever_the_labels(digits):
    (support, labels), (query, _) = digits.complete(0, 100), digits.part(500, 600)
    adapter = TIPX(support="retrieved", per_class=5, **WEIGHTS).fit(support, labels)
    places, classes = retrieved_support(support.prototypes, support.unlabelled, 5)
    retrieved = Features(image=support.unlabelled[places], prototypes=support.prototypes)
    expected = TIPX(**WEIGHTS).fit(retrieved, classes).decision_function(query)
    assert np.array_equal(adapter.decision_function(query), expected)
    assert adapter.support_.tolist() == [5] * 10
    unlabelled = TIPX(support="retrieved", per_class=5, **WEIGHTS).fit(support.rows(slice(0)), labels[:0])
    assert np.array_equal(unlabelled.decision_function(query), expected)


def test_retrieval_from_nothing_is_refused_or_zero_shot(digits):
    support, labels = digits.complete(0, 100)
    adapter = TIPX(support="retrieved", **WEIGHTS)
    with pytest.raises(MissingFeaturesError, match="got none for `unlabelled`"):
        adapter.fit(replace(support, unlabelled=None, unlabelled_second=None), labels)
    empty = replace(support, unlabelled=support.unlabelled[:0], unlabelled_second=None)
    assert adapter.fit(empty, labels).fallback_ == "zero-shot: no unlabelled rows"
    zero_shot = ZeroShot().fit(support, labels).decision_function(support)
    assert np.array_equal(adapter.decision_function(support), zero_shot)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gamma": -1}, "`gamma` must be a finite number of at least 0; got -1"),
        ({"tau": 0}, "`tau` must be a finite number above 0; got 0"),
        ({"per_class": 0}, "`per_class` must be a whole number above 0; got 0"),
        ({"support": "found"}, "`support` must be one of labelled, retrieved; got 'found'"),
    ],
)
def test_bad_parameters_are_refused(digits, parameters, message):
    with pytest.raises(ParameterError, match=message):
        TIPX(**parameters).fit(*digits.part(0, 20))
