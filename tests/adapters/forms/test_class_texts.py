"""Sums and directions of class texts."""

import numpy as np

from evenly.adapters.features import unit_rows
from evenly.adapters.forms.class_texts import directions, named_classes, text_sums


def test_sums_and_counts_are_per_owner():
    texts = unit_rows(np.random.default_rng(0).normal(size=(7, 5)))
    owners = np.array([2, 0, 2, 2, 0, 4, 2])
    sums, counts = text_sums(texts, owners, n_owners=5)
    assert counts.tolist() == [2, 0, 4, 0, 1]
    assert sums.dtype == np.float64
    np.testing.assert_allclose(sums[2], texts[[0, 2, 3, 6]].astype(float).sum(axis=0), atol=1e-15)
    assert not sums[[1, 3]].any()


def test_directions_are_unit_rows_and_fall_back_where_texts_are_missing_or_cancel():
    text = unit_rows(np.array([[3.0, 4.0]]))
    sums, counts = text_sums(np.vstack([text, text, text, -text]), np.array([0, 0, 1, 1]), n_owners=3)
    otherwise = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    found = directions(sums, counts, otherwise=otherwise)
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]], atol=1e-7)


def test_a_long_list_of_classes_is_cut():
    assert named_classes(np.arange(3)) == "0, 1, 2"
    assert named_classes(np.arange(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
