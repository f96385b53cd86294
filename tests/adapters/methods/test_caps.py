"""CapS against its formula, its ends delta 0 and 1, and what its divergences are over."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import MissingFeaturesError, ParameterError
from evenly.adapters.features import unit_rows
from evenly.adapters.methods.caps import CapS
from evenly.adapters.methods.tipx import TIPX
from evenly.adapters.search import tune
from tests.adapters.conftest import labelled

WEIGHTS = {"alpha": 2.0, "beta": 5.0, "gamma": 1.5}


def softmax(scores):
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def naive(query, support, labels, *, delta, profile, alpha, beta, gamma):
    """M-Adapter in float64; the range is that of `query`; `profile` makes a distribution of each row."""
    images, captions, x = (rows.astype(float) for rows in (support.image, support.captions, query.image))
    affinity = (1 - delta) * x @ images.T + delta * x @ captions.T
    mine, others = profile(x), profile(images)
    divergence = np.array([[np.sum(p * np.log(p / q)) for q in others] for p in mine])
    share = (divergence - divergence.min()) / (divergence.max() - divergence.min())
    rescaled = share * (affinity.max() - affinity.min()) + affinity.min()
    one_hot = np.eye(10)[labels]
    zero_shot = 100 * x @ support.prototypes.astype(float).T
    return zero_shot + alpha * np.exp(-beta * (1 - affinity)) @ one_hot - gamma * rescaled @ one_hot


@pytest.fixture
def support(digits):
    features, labels = digits.complete(0, 60)
    return replace(features, views=None), labels


@pytest.mark.parametrize("delta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kl_over", ["classes", "dimensions"])
def test_logits_equal_the_formula(digits, support, delta, kl_over):
    query = digits.part(500, 530)[0]
    texts = support[0].prototypes.astype(float)
    profile = {"classes": lambda rows: softmax(rows @ texts.T / 0.5), "dimensions": lambda rows: softmax(rows / 0.5)}
    expected = naive(query, *support, delta=delta, profile=profile[kl_over], **WEIGHTS)
    adapter = CapS(delta=delta, kl_over=kl_over, **WEIGHTS).fit(*support).calibrate(query)
    np.testing.assert_allclose(adapter._logits(query), expected, rtol=1e-8, atol=1e-8)


def test_delta_zero_is_tipx(digits):
    support, (query, _), (validation, _) = digits.complete(0, 100), digits.part(500, 600), digits.part(200, 300)
    mine = CapS(delta=0.0, **WEIGHTS).fit(*support).calibrate(validation)
    tipx = TIPX(**WEIGHTS).fit(*support).calibrate(validation)
    assert np.array_equal(mine.decision_function(query), tipx.decision_function(query))


def test_delta_one_compares_with_captions_only(digits, support):
    (features, labels), query = support, digits.part(500, 600)[0]
    other = replace(features, image=unit_rows(np.roll(features.image, 3, axis=1)))
    first, second = (CapS(delta=1.0, alpha=2.0, beta=5.0).fit(f, labels) for f in (features, other))
    np.testing.assert_allclose(first.decision_function(query), second.decision_function(query), rtol=1e-6)
    captions = replace(features, image=features.captions)
    tipx = TIPX(alpha=2.0, beta=5.0).fit(captions, labels)
    np.testing.assert_allclose(first.decision_function(query), tipx.decision_function(query), rtol=1e-6)


def test_divergences_over_classes_have_one_entry_per_class(support):
    assert CapS().fit(*support).log_profile_sums_.shape == (10, 10)
    assert CapS(kl_over="dimensions").fit(*support).log_profile_sums_.shape == (10, 64)
    assert CapS().kl_over == "classes"


def test_a_caption_stays_with_its_row(digits, support):
    (features, labels), query = support, digits.part(500, 560)[0]
    mixed = np.random.default_rng(0).permutation(60)
    straight = CapS(**WEIGHTS).fit(features, labels).decision_function(query)
    together = CapS(**WEIGHTS).fit(features.rows(mixed), labels[mixed]).decision_function(query)
    np.testing.assert_allclose(together, straight, rtol=1e-6, atol=1e-5)
    within = np.flatnonzero(labels == labels[0])[:2]
    swapped = features.captions.copy()
    swapped[within] = swapped[within[::-1]]
    apart = CapS(**WEIGHTS).fit(replace(features, captions=swapped), labels).decision_function(query)
    assert np.abs(apart - straight).max() > 1e-3


def test_counting_agrees_with_prediction(digits, support):
    query, truth = digits.part(500, 700)
    adapter = CapS().fit(*support).calibrate(query)
    points = [{"alpha": a, "beta": b, "gamma": g} for a in (0, 1, 20) for b in (1, 5, 9, 13) for g in (0, 3)]
    fast, slow = adapter.correct_counts(query, truth, points), Adapter.correct_counts(adapter, query, truth, points)
    assert np.array_equal(fast, slow)


def test_the_grid_has_two_million_points_and_delta_is_fitted(digits, support):
    assert [len(values) for values in CapS.grid.parameters.values()] == [11, 20, 200, 50]
    assert CapS.grid.parameters["delta"] == (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
    assert "delta" not in CapS.decided_late
    (validation, truth) = digits.part(400, 500)
    tuned = tune(CapS, train=labelled(*support), validation=labelled(validation, truth))
    assert tuned.validation_accuracy > tuned.zero_shot_accuracy
    assert set(tuned.chosen) == {"delta", "alpha", "beta", "gamma"}


def test_missing_captions_are_named(support):
    with pytest.raises(MissingFeaturesError, match="got none for `captions`"):
        CapS().fit(replace(support[0], captions=None), support[1])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"delta": 1.1}, "`delta` must be a number from 0 to 1; got 1.1"),
        ({"delta": -0.1}, "`delta` must be a finite number of at least 0; got -0.1"),
        ({"kl_over": "rows"}, "`kl_over` must be one of classes, dimensions; got 'rows'"),
    ],
)
def test_bad_parameters_are_refused(support, parameters, message):
    with pytest.raises(ParameterError, match=message):
        CapS(**parameters).fit(*support)
