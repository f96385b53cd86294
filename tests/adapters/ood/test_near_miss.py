import numpy as np
import pytest

from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import unit_rows
from evenly.adapters.ood.near_miss import near_miss, near_miss_max
from evenly.adapters.ood.scores import msp


@pytest.fixture
def arrays(digits):
    features, _ = digits.complete(0, 80)
    return features.image, features.prototypes, features.rejection_prototypes


def test_scores_are_those_of_the_joint_softmax(arrays):
    image, classes, rejected = arrays
    joint = softmax(100 * image.astype(float) @ np.concatenate([classes, rejected]).T.astype(float))
    np.testing.assert_allclose(near_miss(*arrays), 1 - joint[:, 10:].sum(axis=1), atol=1e-12)
    np.testing.assert_allclose(near_miss_max(*arrays), joint[:, :10].max(axis=1), atol=1e-12)


def test_a_picture_like_a_near_miss_scores_lower(arrays):
    image, classes, rejected = arrays
    for score in (near_miss, near_miss_max):
        assert score(rejected, classes, rejected).max() < np.median(score(image, classes, rejected))


def test_values_near_0_still_rank():
    classes, rejected = np.array([[1.0, 0, 0]]), np.array([[0, 1.0, 0]])
    rows = unit_rows(np.array([[0.0, 1, 0], [-0.2, 1, 0]]))
    first, second = near_miss(rows, classes, rejected)
    assert 0 < second < first < 1e-30


def test_without_rejection_texts_nothing_is_rejected(arrays):
    image, classes, _ = arrays
    none = np.empty((0, 64), np.float32)
    assert (near_miss(image, classes, none) == 1).all()
    np.testing.assert_allclose(
        near_miss_max(image, classes, none), msp(100 * image.astype(float) @ classes.T), rtol=1e-5
    )
