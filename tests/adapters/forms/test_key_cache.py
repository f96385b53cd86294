"""The layout of keys by class, against plain sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.features import Features, unit_rows
from evenly.adapters.forms.key_cache import class_order, key_columns, mean_rows


def made(labels, *, d=6, seed=0):
    return unit_rows(np.random.default_rng(seed).normal(size=(len(labels), d))) if len(labels) else np.zeros((0, d))


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.integers(0, 5), max_size=40), beta=st.floats(0, 20))
def test_evidence_is_the_sum_over_the_keys_of_each_class(labels, beta):
    labels = np.array(labels, dtype=np.int64)
    keys, image = made(labels), made(range(7), seed=1)
    expected = np.zeros((7, 8))
    for key, label in zip(keys.astype(float), labels, strict=True):
        expected[:, label] += np.exp(-beta * (1 - image.astype(float) @ key))
    evidence = key_columns(keys, labels, n_classes=8).evidence(image, beta)
    np.testing.assert_allclose(evidence, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("counts", [[1, 1000], [16] * 50, [0, 3, 0, 500, 1, 1, 1], [1] * 99 + [900], [7]])
def test_uneven_classes_cost_at_most_three_entries_per_key(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    columns = key_columns(made(labels), labels, n_classes=len(counts))
    assert columns.filled.sum() == len(labels)
    assert len(columns.keys) <= 3 * len(labels)
    ones = columns.class_sums(columns.answers(columns.gaps(made(range(2))), 0.0))
    assert np.array_equal(ones, [counts, counts])


def test_evidence_in_many_chunks_is_that_of_one(monkeypatch):
    labels = np.arange(30) % 4
    columns, image = key_columns(made(labels), labels, n_classes=5), made(range(50), seed=2)
    whole = columns.evidence(image, 2.0)
    monkeypatch.setattr("evenly.adapters.forms.key_cache.CHUNK_ENTRIES", 100)
    assert columns.chunk_rows == 3
    np.testing.assert_allclose(columns.evidence(image, 2.0), whole, rtol=1e-13)


def test_a_key_is_the_normalised_mean_over_the_views():
    views = np.stack([made(range(4), seed=seed) for seed in range(3)])
    mean = mean_rows(Features(image=views[0], views=views))
    expected = views.astype(float).mean(axis=0)
    np.testing.assert_allclose(mean, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)
    assert np.array_equal(mean_rows(Features(image=views[0])), views[0])
    assert np.array_equal(mean_rows(Features(image=views[0], views=views[:0])), views[0])


def test_class_order_does_not_depend_on_the_order_of_the_rows():
    labels = np.array([2, 0, 1, 0, 2, 2])
    rows = made(labels)
    mixed = np.array([3, 5, 0, 2, 4, 1])
    first, second = class_order(rows, labels), class_order(rows[mixed], labels[mixed])
    assert np.array_equal(rows[first], rows[mixed][second])
    assert np.array_equal(labels[first], [0, 0, 1, 2, 2, 2])
