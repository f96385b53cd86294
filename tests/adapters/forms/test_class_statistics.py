"""Counts, means and scatter per class: against loops, joined in any order, and what is made of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.features import Features
from evenly.adapters.forms import class_statistics
from evenly.adapters.forms.class_statistics import ClassStatistics, RowStatistics, all_views, closed_form


def made(*, n=60, d=5, c=4, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(c, size=n)
    return (generator.normal(size=(c, d))[labels] + generator.normal(size=(n, d))).astype(np.float32), labels


def by_loops(rows, labels, c):
    """Means and scatter, one row at a time."""
    wide = rows.astype(float)
    means = np.stack(
        [wide[labels == k].mean(axis=0) if (labels == k).any() else np.zeros(rows.shape[1]) for k in range(c)]
    )
    scatter = sum(np.outer(x - means[y], x - means[y]) for x, y in zip(wide, labels, strict=True))
    return means, scatter


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 60), c=st.integers(1, 8), seed=st.integers(0, 99))
def test_statistics_equal_those_made_by_loops(n, c, seed):
    rows, labels = made(n=n, c=c, seed=seed)
    found = ClassStatistics.of(rows, labels, n_classes=c + 1)
    means, scatter = by_loops(rows, labels, c + 1)
    assert found.counts.tolist() == [*(np.count_nonzero(labels == k) for k in range(c)), 0]
    assert found.n == n
    np.testing.assert_allclose(found.means, means, atol=1e-12)
    np.testing.assert_allclose(found.scatter, scatter, atol=1e-10)


def test_blocks_of_rows_change_nothing(monkeypatch):
    rows, labels = made(n=50)
    whole = ClassStatistics.of(rows, labels, n_classes=4)
    monkeypatch.setattr(class_statistics, "_BLOCK_ROWS", 7)
    np.testing.assert_allclose(ClassStatistics.of(rows, labels, n_classes=4).scatter, whole.scatter, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(6, 40), d=st.integers(2, 50), seed=st.integers(0, 99), most=st.integers(1, 4))
def test_few_rows_that_count_several_times_give_the_same_form_as_their_copies(n, d, seed, most):
    rows, labels = made(n=n, d=d, seed=seed)
    repeats = np.random.default_rng(seed).integers(1, most + 1, size=n)
    copies = ClassStatistics.of(np.repeat(rows, repeats, axis=0), np.repeat(labels, repeats), n_classes=5)
    found = RowStatistics.of(rows, labels, repeats, n_classes=5)
    assert np.array_equal(found.counts, copies.counts)
    assert found.trace == pytest.approx(copies.trace)
    weight, bias, fallback = closed_form(copies)
    own_weight, own_bias, own_fallback = closed_form(found)
    assert own_fallback == fallback
    np.testing.assert_allclose(own_weight, weight, rtol=1e-9, atol=1e-10 * np.abs(weight).max())
    np.testing.assert_allclose(own_bias, bias, rtol=1e-9, atol=1e-10 * np.abs(bias).max())


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=5), seed=st.integers(0, 99), c=st.integers(1, 6))
def test_parts_joined_in_any_order_equal_the_whole(cuts, seed, c):
    rows, labels = made(c=c, seed=seed)
    whole = ClassStatistics.of(rows, labels, n_classes=c)
    parts = [
        ClassStatistics.of(rows[start:stop], labels[start:stop], n_classes=c)
        for start, stop in pairwise([0, *sorted(cuts), 60])
    ]
    order = np.random.default_rng(seed).permutation(len(parts))
    joined = parts[order[0]]
    for place in order[1:]:
        joined = joined.joined(parts[place])
    assert np.array_equal(joined.counts, whole.counts)
    np.testing.assert_allclose(joined.means, whole.means, atol=1e-12)
    np.testing.assert_allclose(joined.scatter, whole.scatter, atol=1e-10)
    assert np.array_equal(joined.scatter, joined.scatter.T)


def test_a_part_may_know_more_classes():
    rows, labels = made(c=6)
    early = labels < 3
    first = ClassStatistics.of(rows[early], labels[early], n_classes=3)
    joined = first.joined(ClassStatistics.of(rows[~early], labels[~early], n_classes=6))
    whole = ClassStatistics.of(rows, labels, n_classes=6)
    np.testing.assert_allclose(joined.means, whole.means, atol=1e-12)
    np.testing.assert_allclose(joined.scatter, whole.scatter, atol=1e-10)


def test_joining_keeps_a_scatter_that_is_tiny_beside_the_means():
    rows, labels = made(n=40)
    far = 1e6 + rows.astype(np.float64)
    halves = [ClassStatistics.of(far[part], labels[part], n_classes=4) for part in (slice(20), slice(20, 40))]
    whole = ClassStatistics.of(rows, labels, n_classes=4)
    np.testing.assert_allclose(halves[0].joined(halves[1]).scatter, whole.scatter, atol=1e-6)


@pytest.mark.parametrize(
    ("counts", "prior", "expected"),
    [
        ([6, 3, 1], "train", [0.6, 0.3, 0.1]),
        ([6, 3, 0], "train", [0.6, 0.3, 0.1]),
        ([6, 3, 1], "uniform", [1 / 3, 1 / 3, 1 / 3]),
    ],
)
def test_the_prior_is_even_or_the_share_of_the_rows_and_never_zero(counts, prior, expected):
    statistics = ClassStatistics(counts=np.array(counts), means=np.zeros((3, 2)), scatter=np.eye(2))
    np.testing.assert_allclose(np.exp(statistics.log_prior(prior)), expected)


def test_why_there_is_no_scatter_is_said():
    rows, labels = made(n=4, c=4)
    assert ClassStatistics.of(rows, labels, n_classes=4).no_scatter() == "4 rows are not more than 4 classes"
    same = ClassStatistics.of(np.ones((9, 3)), np.arange(9) % 4, n_classes=4)
    assert same.no_scatter() == "the rows of each class are all equal"
    assert ClassStatistics.of(*made(), n_classes=4).no_scatter() == ""


def test_rows_of_zeros_give_no_nan():
    weight, bias, fallback = closed_form(ClassStatistics.of(np.zeros((5, 3)), np.arange(5) % 2, n_classes=2))
    assert fallback == "identity covariance: the rows of each class are all equal"
    assert not weight.any()
    np.testing.assert_allclose(bias, np.log(0.5))


def test_every_view_is_a_row(digits):
    features, labels = digits.complete(0, 20)
    rows, repeated = all_views(features, labels)
    assert np.array_equal(rows, np.concatenate(list(features.views)))
    assert np.array_equal(repeated, np.concatenate([labels, labels]))
    plain = Features(image=features.image)
    assert all_views(plain, labels)[0] is plain.image
