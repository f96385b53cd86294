"""PerceptionCLIP against the two published steps in plain float64, and where it must equal zero-shot."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.methods import perceptionclip
from evenly.adapters.methods.perceptionclip import PerceptionCLIP
from evenly.adapters.methods.zero_shot import ZeroShot

NO_LABELS = np.zeros(5, np.int64)


def two_steps(image, contexts, temperature, scale=100.0):
    """p(z|x) (n, z) and p(y|x) (n, c) with raw exponentials, as published."""
    scores = scale * np.einsum("nd,zcd->nzc", image.astype(float), contexts.astype(float))
    weights = np.exp(scores / temperature).sum(axis=2)
    weights /= weights.sum(axis=1, keepdims=True)
    given = np.exp(scores)
    given /= given.sum(axis=2, keepdims=True)
    return weights, np.einsum("nz,nzc->nc", weights, given)


@pytest.mark.parametrize("temperature", [1.0, 3.0, 30.0])
def test_probabilities_equal_the_two_published_steps(digits, temperature):
    support, query = digits.complete(0, 5)[0], digits.part(200, 300)[0]
    _, expected = two_steps(query.image, support.context_prototypes, temperature)
    adapter = PerceptionCLIP(temperature=temperature).fit(support, NO_LABELS)
    np.testing.assert_allclose(np.exp(adapter._logits(query)), expected, rtol=1e-9)


def test_logits_are_logarithms_of_probabilities(digits):
    support, query = digits.complete(0, 5)[0], digits.part(200, 300)[0]
    logits = PerceptionCLIP().fit(support, NO_LABELS)._logits(query)
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("times", [1, 4])
def test_contexts_that_equal_the_prototypes_change_no_prediction(digits, times):
    support, query = digits.complete(0, 5)[0], digits.part(200, 1200)[0]
    same = replace(support, context_prototypes=np.stack([support.prototypes] * times))
    adapter, zero_shot = PerceptionCLIP().fit(same, NO_LABELS), ZeroShot().fit(support, NO_LABELS)
    assert np.array_equal(adapter.predict(query), zero_shot.predict(query))


def test_without_contexts_it_is_zero_shot_exactly(digits):
    support, query = digits.complete(0, 5)[0], digits.part(200, 300)[0]
    adapter = PerceptionCLIP().fit(replace(support, context_prototypes=support.context_prototypes[:0]), NO_LABELS)
    assert adapter.fallback_ == "zero-shot: no contexts"
    zero_shot = ZeroShot().fit(support, NO_LABELS)
    assert np.array_equal(adapter.decision_function(query), zero_shot.decision_function(query))


def test_nothing_overflows_where_raw_exponentials_do(digits):
    support, query = digits.complete(0, 5)[0], digits.part(200, 230)[0]
    adapter = PerceptionCLIP(logit_scale=1e5, temperature=0.01).fit(support, NO_LABELS)
    assert np.isfinite(adapter.decision_function(query)).all()


def test_the_order_of_the_contexts_does_not_matter(digits):
    support, query = digits.complete(0, 5)[0], digits.part(200, 300)[0]
    turned = replace(support, context_prototypes=support.context_prototypes[[2, 0, 1]])
    np.testing.assert_allclose(
        PerceptionCLIP().fit(turned, NO_LABELS)._logits(query),
        PerceptionCLIP().fit(support, NO_LABELS)._logits(query),
        rtol=1e-9,
    )


def test_small_blocks_equal_one(digits, monkeypatch):
    support, query = digits.complete(0, 5)[0], digits.part(200, 300)[0]
    adapter = PerceptionCLIP().fit(support, NO_LABELS)
    whole = adapter.decision_function(query)
    monkeypatch.setattr(perceptionclip, "BLOCK_ROWS", 7)
    np.testing.assert_allclose(adapter.decision_function(query), whole, rtol=1e-6)


def test_context_rescues_classes_that_look_alike_across_contexts():
    """Two classes, two contexts; the context moves images further than the class does."""
    generator = np.random.default_rng(0)
    classes = np.stack([np.eye(8)[0], np.eye(8)[1]])
    contexts = np.stack([np.zeros(8), 3 * np.eye(8)[2] + 1.2 * np.eye(8)[0]])
    truth, where = generator.integers(2, size=400), generator.integers(2, size=400)
    image = unit_rows(classes[truth] + contexts[where] + 0.2 * generator.normal(size=(400, 8)))
    features = Features(
        image=image,
        prototypes=unit_rows(classes),
        context_prototypes=np.stack([unit_rows(classes + context) for context in contexts]),
    )
    labels = np.zeros(400, np.int64)
    zero_shot = np.mean(ZeroShot().fit(features, labels).predict(features) == truth)
    adapter = PerceptionCLIP().fit(features, labels)
    assert np.mean(adapter.predict(features) == truth) > zero_shot + 0.1


def test_bad_calls_are_refused(digits):
    support = digits.complete(0, 5)[0]
    with pytest.raises(ParameterError, match="`temperature` must be a finite number above 0; got 0"):
        PerceptionCLIP(temperature=0).fit(support, NO_LABELS)
