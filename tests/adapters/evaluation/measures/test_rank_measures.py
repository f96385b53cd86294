import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.evaluation.measures.rank_measures import rank_measures

few = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=25)


def by_hand(scores, values):
    """Spearman as the correlation of mean ranks, tau-b and pairwise accuracy from all pairs."""
    n = len(scores)
    ranks = [[sum(b < a for b in x) + (sum(b == a for b in x) + 1) / 2 for a in x] for x in (scores, values)]
    pairs = [(np.sign(scores[i] - scores[j]), np.sign(values[i] - values[j])) for i in range(n) for j in range(i)]
    balance = sum(s * v for s, v in pairs)
    untied = [sum(s != 0 for s, _ in pairs), sum(v != 0 for _, v in pairs)]
    right = sum(0.5 if s == 0 else float(s == v) for s, v in pairs if v != 0)
    return np.corrcoef(*ranks)[0, 1], balance / np.sqrt(untied[0] * untied[1]), right / untied[1]


@settings(max_examples=60, deadline=None)
@given(rows=few)
def test_measures_equal_those_counted_by_hand(rows):
    scores, values = np.array(rows, dtype=float).T
    found = rank_measures(scores, values)
    assert found.n == len(rows)
    if len(set(values)) == 1:
        assert np.isnan([found.spearman, found.kendall, found.pairwise_accuracy]).all()
    elif len(set(scores)) == 1:
        assert np.isnan([found.spearman, found.kendall]).all()
        assert found.pairwise_accuracy == 0.5
    else:
        expected = by_hand(scores, values)
        got = (found.spearman, found.kendall, found.pairwise_accuracy)
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_a_perfect_order_and_its_reverse_have_the_ends_of_the_scales():
    values = np.array([3, 1, 4, 1, 5])
    best, worst = rank_measures(values**3, values), rank_measures(-values, values)
    assert (best.spearman, best.kendall, best.pairwise_accuracy) == pytest.approx((1, 1, 1))
    assert (worst.spearman, worst.kendall, worst.pairwise_accuracy) == pytest.approx((-1, -1, 0))


@pytest.mark.parametrize("n", [0, 1])
def test_without_two_rows_nothing_is_measured(n):
    found = rank_measures(np.ones(n), np.ones(n))
    assert np.isnan([found.spearman, found.kendall, found.pairwise_accuracy]).all()


@pytest.mark.parametrize(
    ("scores", "values", "message"),
    [
        (np.ones(3), np.ones(2), r"`values` must hold one number per image, shape \(3,\); got float64 of shape \(2,\)"),
        (np.ones((3, 1)), np.ones(3), r"`scores` must hold one number per image, .* of shape \(3, 1\)"),
        (np.array([1.0, np.nan]), np.ones(2), "`scores` must be finite; got nan at row 1"),
        (np.ones(1), np.array(["a"]), "`values` must hold one number per image"),
    ],
)
def test_bad_numbers_are_refused(scores, values, message):
    with pytest.raises(InvalidFeaturesError, match=message):
        rank_measures(scores, values)
