"""Tip-Adapter against a naive loop, its grid, and its counting against its own predictions."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import NotFittedError, ParameterError
from evenly.adapters.methods.tip import PUBLISHED_MAXIMA, Tip, published_grid
from evenly.adapters.search import tune
from tests.adapters.conftest import labelled


def naive(query, keys, labels, prototypes, *, alpha, beta):
    """The published formula, one row and one key at a time, in float64."""
    logits = np.zeros((len(query), len(prototypes)))
    for i, x in enumerate(query.astype(float)):
        for c, text in enumerate(prototypes.astype(float)):
            logits[i, c] = 100 * x @ text
        for key, label in zip(keys.astype(float), labels, strict=True):
            logits[i, label] += alpha * np.exp(-beta * (1 - x @ key))
    return logits


@pytest.mark.parametrize(("alpha", "beta"), [(1.17, 1.0), (3.0, 7.0), (50.0, 50.0), (0.1, 0.0)])
def test_logits_equal_the_naive_loop(digits, alpha, beta):
    (support, labels), (query, _) = digits.part(0, 120), digits.part(500, 540)
    adapter = Tip(alpha=alpha, beta=beta).fit(support, labels)
    expected = naive(query.image, support.image, labels, support.prototypes, alpha=alpha, beta=beta)
    np.testing.assert_allclose(adapter._logits(query), expected, rtol=1e-12, atol=1e-11)


def test_keys_are_the_mean_over_the_views(digits):
    (support, labels), (query, _) = digits.complete(0, 60), digits.part(500, 520)
    mean = support.views.astype(float).mean(axis=0)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    expected = naive(query.image, mean, labels, support.prototypes, alpha=2.0, beta=5.0)
    logits = Tip(alpha=2.0, beta=5.0).fit(support, labels).decision_function(query)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_a_class_without_support_keeps_its_column_at_zero_shot(digits):
    (support, labels), (query, _) = digits.part(0, 200), digits.part(500, 600)
    some = np.flatnonzero(labels < 9)
    logits = Tip(alpha=3.0).fit(support.rows(some), labels[some]).decision_function(query)
    assert logits.shape == (100, 10)
    np.testing.assert_allclose(logits[:, 9], 100 * query.image @ support.prototypes[9], rtol=1e-5)


def test_the_published_grid_is_200_betas_by_20_alphas():
    grid = published_grid().parameters
    assert Tip.grid.parameters == grid
    assert {name: len(values) for name, values in grid.items()} == {"beta": 200, "alpha": 20}
    assert (grid["beta"][0], grid["alpha"][0]) == (0.1, 0.1)
    assert grid["beta"][-1] == pytest.approx(7 - 6.9 / 200)
    assert grid["alpha"][-1] == pytest.approx(3 - 2.9 / 20)
    assert published_grid(max_beta=50, max_alpha=50).parameters["alpha"][1] == pytest.approx(0.1 + 49.9 / 20)
    assert PUBLISHED_MAXIMA["imagenet"] == (7, 3)


@pytest.mark.parametrize("chunk_rows", [64, 8192])
def test_counting_agrees_with_prediction_at_every_point(digits, chunk_rows):
    (support, labels), (query, truth) = digits.part(0, 150), digits.part(500, 900)
    some = np.flatnonzero(labels != 4)
    adapter = Tip().fit(support.rows(some), labels[some])
    betas, alphas = published_grid(max_beta=50, max_alpha=50).parameters.values()
    points = [{"beta": beta, "alpha": alpha} for beta, alpha in itertools.product(betas[::13], (0, *alphas[::3]))]
    slow = Adapter.correct_counts(adapter, query, truth, points)
    fast = adapter.correct_counts(query, truth, points, chunk_rows=chunk_rows)
    margin = np.array([closest(logits, truth) for logits in adapter.sweep(query, points)])
    assert len(set(slow.tolist())) > 10
    assert np.array_equal(fast[margin > 1e-4], slow[margin > 1e-4])
    assert np.abs(fast - slow).max() <= 1


def closest(logits, truth):
    """The smallest distance, over the rows, between the label's logit and the best other one."""
    own = logits[np.arange(len(truth)), truth]
    others = logits.copy()
    others[np.arange(len(truth)), truth] = -np.inf
    return np.abs(own - others.max(axis=1)).min()


def test_points_may_name_one_weight_or_none_and_leave_the_adapter_as_it_was(digits):
    (support, labels), (query, truth) = digits.part(0, 100), digits.part(500, 600)
    adapter = Tip(alpha=2.0, beta=3.0).fit(support, labels)
    points = [{}, {"alpha": 0.5}, {"beta": 9.0}]
    counts = adapter.correct_counts(query, truth, points)
    assert counts.tolist() == Adapter.correct_counts(adapter, query, truth, points).tolist()
    assert adapter.get_params() == Tip(alpha=2.0, beta=3.0).get_params()
    with pytest.raises(ParameterError, match=r"must be one of .*beta.*; got `gamma`"):
        adapter.correct_counts(query, truth, [{"gamma": 1.0}])
    assert adapter.get_params() == Tip(alpha=2.0, beta=3.0).get_params()


def test_counting_before_fit_is_refused(digits):
    query, truth = digits.part(0, 10)
    with pytest.raises(NotFittedError):
        Tip().correct_counts(query, truth, [{}])


def test_the_search_beats_zero_shot_on_real_digits(digits):
    (train, labels), (validation, truth) = digits.part(0, 160), digits.part(400, 800)
    tuned = tune(Tip, train=labelled(train, labels), validation=labelled(validation, truth))
    assert len(tuned.curve) == 4000
    assert tuned.validation_accuracy > tuned.zero_shot_accuracy + 0.05
    assert np.mean(tuned.adapter.predict(validation) == truth) == tuned.validation_accuracy


def test_no_support_is_zero_shot_and_said(digits):
    support, labels = digits.complete(0, 50)
    adapter = Tip().fit(support.rows(slice(0)), labels[:0])
    assert adapter.fallback_ == "zero-shot: no support rows"
    assert adapter.keys_.shape == (0, 64)
    assert (
        adapter.correct_counts(support, labels, [{}, {"alpha": 0}]).tolist()
        == [np.count_nonzero(adapter.predict(support) == labels)] * 2
    )


@pytest.mark.parametrize(("name", "value"), [("alpha", -1), ("beta", float("inf"))])
def test_bad_parameters_are_refused(digits, name, value):
    with pytest.raises(ParameterError, match=f"`{name}` must be a finite number of at least 0; got {value}"):
        Tip(**{name: value}).fit(*digits.part(0, 20))


def test_views_without_any_view_are_the_images(digits):
    support, labels = digits.complete(0, 50)
    empty = replace(support, views=support.views[:0])
    assert np.array_equal(Tip().fit(empty, labels).keys_, Tip().fit(replace(support, views=None), labels).keys_)
