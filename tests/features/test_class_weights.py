import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.class_weights import class_weights
from evenly.features.errors import RowsError
from evenly.features.unit_rows import to_unit_rows


def texts(n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_each_class_is_the_normalised_mean_of_its_unit_vectors_in_the_order_given(counts):
    classes = [texts(count, seed) for seed, count in enumerate(counts)]
    weights = class_weights(classes)
    assert weights.shape == (len(counts), 6)
    assert weights.dtype == np.float32
    for rows, weight in zip(classes, weights, strict=True):
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
        assert np.allclose(weight, mean / np.linalg.norm(mean), atol=1e-6)


def test_raw_and_stored_vectors_give_the_same_class():
    raw = texts(4) * 7
    assert np.allclose(class_weights([raw]), class_weights([to_unit_rows(raw)[0]]), atol=1e-3)


def test_a_class_of_one_text_is_that_text():
    raw = texts(1)
    assert np.allclose(class_weights([raw])[0], raw[0] / np.linalg.norm(raw[0]))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "`texts_per_class` must hold at least one class"),
        ([texts(1), texts(1)[:0]], r"`texts_per_class\[1\]` must hold at least one text"),
        ([texts(1), np.zeros((1, 6), np.float32)], r"`texts_per_class\[1\]` must have rows of finite numbers"),
        ([np.stack([np.ones(6), -np.ones(6)])], r"`texts_per_class\[0\]` must have a mean direction"),
        ([texts(1), texts(1)[:, :3]], r"must be of one width; got \[3, 6\]"),
    ],
)
def test_a_class_without_a_vector_is_refused_and_named(classes, message):
    with pytest.raises(RowsError, match=message):
        class_weights(classes)
