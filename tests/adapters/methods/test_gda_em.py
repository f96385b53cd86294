"""Unsupervised GDA against a plain EM, its log-likelihood, and what a pool must offer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from evenly.adapters.errors import MissingFeaturesError, ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods import gda_em
from evenly.adapters.methods.gda_em import GDAUnsupervised

NOTHING = np.empty(0, np.int64)


def made(*, m=200, d=5, c=4, seed=0, wrong=0.5):
    """A record whose pool of m rows lies around c directions, near which the prototypes lie; and the pool's classes."""
    generator = np.random.default_rng(seed)
    directions = generator.normal(size=(c, d))
    labels = generator.integers(c, size=m)
    pool = unit_rows(directions[labels] + 0.6 * generator.normal(size=(m, d)))
    prototypes = unit_rows(directions + wrong * generator.normal(size=(c, d)))
    return Features(image=pool[:0], prototypes=prototypes, unlabelled=pool), labels


def plain_em(features, *, iterations, shrinkage, logit_scale=10.0):
    """Means, shares, precision and log-likelihoods by the formulas as they stand, densities by scipy."""
    rows, prototypes = features.unlabelled.astype(float), features.prototypes.astype(float)
    m, d = rows.shape
    odds = np.exp(logit_scale * rows @ prototypes.T)
    weights = odds / odds.sum(axis=1, keepdims=True)
    history = []
    for _ in range(iterations):
        mass = weights.sum(axis=0)
        means = weights.T @ rows / mass[:, None]
        covariance = np.zeros((d, d))
        for k in range(len(mass)):
            apart = rows - means[k]
            covariance += (weights[:, k, None] * apart).T @ apart / m
        covariance += shrinkage * np.trace(covariance) / (m - 1) * np.eye(d)
        densities = [p * multivariate_normal(mu, covariance).pdf(rows) for p, mu in zip(mass / m, means, strict=True)]
        joint = np.stack(densities, axis=1)
        history.append(np.log(joint.sum(axis=1)).mean())
        weights = joint / joint.sum(axis=1, keepdims=True)
    return means, mass, np.linalg.inv(covariance), history


def fitted(features, **parameters):
    return GDAUnsupervised(**{"logit_scale": 10.0, "tolerance": 0.0, **parameters}).fit(features, NOTHING)


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(st.integers(30, 200), st.integers(2, 8), st.integers(1, 5)),
    seed=st.integers(0, 99),
    shrinkage=st.sampled_from([0.0, 1.0, 5.0]),
    prior=st.sampled_from(["uniform", "train"]),
)
def test_it_equals_a_plain_em(shape, seed, shrinkage, prior):
    m, d, c = shape
    features, _ = made(m=m, d=d, c=c, seed=seed)
    adapter = fitted(features, shrinkage=shrinkage, max_iterations=4, prior=prior)
    means, mass, precision, history = plain_em(features, iterations=4, shrinkage=shrinkage)
    shares = np.maximum(mass, 1) / np.maximum(mass, 1).sum() if prior == "train" else np.full(c, 1 / c)
    np.testing.assert_allclose(adapter.log_likelihood_, history, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(adapter.weight_, means @ precision, rtol=1e-6, atol=1e-6)
    expected = np.log(shares) - np.einsum("cd,de,ce->c", means, precision, means) / 2
    np.testing.assert_allclose(adapter.bias_, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(m=st.integers(20, 200), d=st.integers(2, 8), c=st.integers(1, 6), seed=st.integers(0, 99))
def test_without_shrinkage_the_log_likelihood_never_falls(m, d, c, seed):
    features, _ = made(m=m, d=d, c=c, seed=seed)
    history = fitted(features, shrinkage=0.0, max_iterations=40).log_likelihood_
    assert len(history) == 40
    assert np.diff(history).min() > -1e-9


def test_it_stops_when_the_log_likelihood_stands_still():
    features, _ = made()
    patient = fitted(features, max_iterations=200).log_likelihood_
    quick = fitted(features, max_iterations=200, tolerance=1e-4).log_likelihood_
    assert len(quick) < len(patient) == 200
    assert abs(quick[-1] - quick[-2]) < 1e-4 <= abs(quick[-2] - quick[-3])
    np.testing.assert_allclose(quick, patient[: len(quick)])


def test_blocks_of_the_pool_change_nothing(monkeypatch):
    features, _ = made()
    whole = fitted(features)
    monkeypatch.setattr(gda_em, "POOL_ROWS", 7)
    np.testing.assert_allclose(fitted(features).weight_, whole.weight_, rtol=1e-8, atol=1e-8)


def test_it_beats_zero_shot_with_a_pool_of_the_same_classes():
    features, labels = made(m=600, d=8, c=6, wrong=1.0)
    query = Features(image=features.unlabelled)
    zero_shot = np.mean(fitted(features, alpha=0.0).predict(query) == labels)
    found = np.mean(fitted(features, alpha=10.0).predict(query) == labels)
    assert zero_shot < 0.9
    assert found > zero_shot + 0.1


def test_labelled_rows_are_not_used(digits):
    features, labels = digits.complete(0, 100)
    query = digits.part(200, 300)[0]
    with_support = GDAUnsupervised().fit(features, labels)
    without = GDAUnsupervised().fit(features.rows(slice(0)), labels[:0])
    assert np.array_equal(with_support.decision_function(query), without.decision_function(query))


def test_a_class_that_no_row_speaks_for_gets_the_mean_evidence():
    axes, generator = np.eye(6), np.random.default_rng(0)
    pool = unit_rows(axes[np.arange(200) % 4] + 0.1 * generator.normal(size=(200, 6)))
    prototypes = unit_rows(np.concatenate([axes[:4], -axes[4:5]]))
    adapter = fitted(Features(image=pool[:0], prototypes=prototypes, unlabelled=pool), logit_scale=1000.0)
    assert np.isfinite(adapter.log_likelihood_).all()
    np.testing.assert_allclose(adapter.weight_[4], adapter.weight_[:4].mean(axis=0))
    np.testing.assert_allclose(adapter.bias_[4], adapter.bias_[:4].mean())


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (lambda rows: rows[:0], "zero-shot: 0 unlabelled rows are not more than 4 classes"),
        (lambda rows: rows[:4], "zero-shot: 4 unlabelled rows are not more than 4 classes"),
        (lambda rows: np.repeat(rows[:1], 9, axis=0), "zero-shot: the unlabelled rows of each class are all equal"),
    ],
)
def test_a_pool_that_shows_no_classes_leaves_zero_shot(pool, why):
    features, _ = made()
    adapter = fitted(replace(features, unlabelled=pool(features.unlabelled)))
    assert adapter.fallback_ == why
    assert not adapter.weight_.any()
    assert not adapter.bias_.any()
    assert adapter.log_likelihood_.shape == (0,)


@pytest.mark.parametrize("logit_scale", [10.0, 1e4])
def test_few_different_rows_give_no_nan(logit_scale):
    features, _ = made(m=6, d=8)
    few = replace(features, unlabelled=np.repeat(features.unlabelled, 3, axis=0))
    adapter = fitted(few, logit_scale=logit_scale, max_iterations=200)
    assert np.isfinite(adapter.log_likelihood_).all()
    assert np.isfinite(adapter.decision_function(Features(image=few.unlabelled))).all()


def test_a_singular_covariance_needs_shrinkage():
    features, _ = made(m=6, d=8)
    with pytest.raises(ParameterError, match="`shrinkage` must be above 0 where the covariance within classes is sing"):
        fitted(features, shrinkage=0.0)


def test_what_cannot_be_fitted_is_refused(digits):
    with pytest.raises(MissingFeaturesError, match="got none for `unlabelled`"):
        GDAUnsupervised().fit(*digits.part(0, 50))
    for name, value in {"shrinkage": -1, "max_iterations": 0, "tolerance": -1e-3, "prior": "pool"}.items():
        with pytest.raises(ParameterError, match=f"`{name}` must be"):
            fitted(made()[0], **{name: value})
