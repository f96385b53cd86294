import numpy as np
import pytest

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.ood.cooked import cooked_entropy, cooked_msp

THREE = np.random.default_rng(0).normal(size=(3, 30, 6)) * 4
MEAN = np.mean([softmax(one) for one in THREE], axis=0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_scores_are_those_of_the_mean_of_the_probabilities(kind):
    logits = np.log(MEAN).astype(kind)
    np.testing.assert_allclose(cooked_msp(logits), MEAN.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(cooked_entropy(logits), (MEAN * np.log(MEAN)).sum(axis=1), rtol=1e-5)


def test_a_probability_of_0_is_no_error():
    logits = np.array([[0.0, -np.inf]])
    assert cooked_msp(logits) == 1
    assert cooked_entropy(logits) == 0


def test_class_order_does_not_matter():
    order = [3, 1, 5, 0, 2, 4]
    np.testing.assert_allclose(cooked_msp(np.log(MEAN[:, order])), cooked_msp(np.log(MEAN)))
    np.testing.assert_allclose(cooked_entropy(np.log(MEAN[:, order])), cooked_entropy(np.log(MEAN)))


@pytest.mark.parametrize("score", [cooked_msp, cooked_entropy])
def test_logits_that_are_no_log_probabilities_are_refused(score):
    with pytest.raises(
        InvalidFeaturesError, match="must be logarithms of rows that add up to 1; got a sum of 2 at row 1"
    ):
        score(np.log(np.array([[0.5, 0.5], [1.0, 1.0]])))
