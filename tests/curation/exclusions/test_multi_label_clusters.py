import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.errors import RuleError
from evenly.curation.exclusions import multi_label_clusters
from evenly.curation.exclusions.multi_label_clusters import (
    coverage,
    measure_balance,
    near_duplicate_rows,
    nearest_clusters,
)


def unit(n, d=6, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 50, 10**6])
def test_the_nearest_centres_come_first_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(multi_label_clusters, "_BLOCK_SCORES", block)
    rows, centres = unit(30), unit(9, seed=1)
    which, cosines = nearest_clusters(rows, centres, 4)
    exact = rows.astype(np.float64) @ centres.T.astype(np.float64)
    assert np.array_equal(which, np.argsort(-exact, axis=1)[:, :4])
    assert cosines == pytest.approx(-np.sort(-exact, axis=1)[:, :4], abs=6e-5)


def test_of_equal_centres_the_first_counts_and_labels_must_fit():
    centres = np.repeat(unit(1), 3, axis=0)
    assert nearest_clusters(unit(2), centres, 3)[0].tolist() == [[0, 1, 2]] * 2
    for labels in (0, 4):
        with pytest.raises(RuleError, match=f"`labels` must be 1 to the number of clusters, 3; got {labels}"):
            nearest_clusters(unit(2), centres, labels)


def test_even_clusters_have_entropy_one_and_a_single_full_one_none():
    even = measure_balance(np.arange(12) % 4, 4)
    assert (even.entropy, even.gini, even.empty, even.largest) == (pytest.approx(1), 0, 0, 3)
    assert even.effective == pytest.approx(4)
    full = measure_balance(np.zeros(12, np.int64), 4)
    assert (full.entropy, full.effective, full.empty, full.largest) == (0, 1, 3, 12)
    assert full.gini == pytest.approx(0.75)
    assert measure_balance(np.empty(0, np.int64), 3).effective == 0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_gini_is_half_the_mean_difference_over_the_mean(clusters):
    found = measure_balance(np.array(clusters), 6)
    sizes = found.sizes.astype(float)
    differences = np.abs(sizes[:, None] - sizes[None, :]).mean()
    assert found.gini == pytest.approx(differences / (2 * sizes.mean()))
    assert found.sizes.sum() == len(clusters)
    assert 0 <= found.entropy <= 1 + 1e-12


@pytest.mark.parametrize("block", [1, 10**6])
def test_near_duplicates_are_looked_for_within_a_cluster(monkeypatch, block):
    monkeypatch.setattr(multi_label_clusters, "_BLOCK_SCORES", block)
    rows = np.array([[1, 0], [1, 0.01], [0, 1], [1, 0], [-1, 0]], np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    near = near_duplicate_rows(rows, np.array([3, 3, 3, 1, 3]), min_cosine=0.95)
    assert near.tolist() == [True, True, False, False, False]
    assert near_duplicate_rows(rows[:0], np.empty(0, np.int64), min_cosine=0.9).tolist() == []


def test_coverage_is_of_the_nearest_centres():
    assert coverage(np.array([0.5, 0.7, 0.9])) == {"mean": 0.7, "p05": 0.52, "median": 0.7}
    assert coverage(np.empty(0))["mean"] is None
