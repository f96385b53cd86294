import numpy as np
import pytest
from scipy.stats import binomtest

from evenly.adapters.errors import ParameterError, SplitError
from evenly.adapters.evaluation.measures.bootstrap import Interval, bootstrap_accuracy, paired_bootstrap

GENERATOR = np.random.default_rng(0)
COIN = GENERATOR.random(400) < 0.7


def test_same_seed_same_interval_other_seed_another():
    assert bootstrap_accuracy(COIN, seed=1) == bootstrap_accuracy(COIN, seed=1)
    assert bootstrap_accuracy(COIN, seed=1) != bootstrap_accuracy(COIN, seed=2)


def test_interval_holds_the_estimate_and_is_near_the_normal_one():
    found = bootstrap_accuracy(COIN, seed=0)
    assert found.estimate == COIN.mean()
    half = 1.96 * np.sqrt(COIN.mean() * (1 - COIN.mean()) / 400)
    assert found.low == pytest.approx(COIN.mean() - half, abs=0.006)
    assert found.high == pytest.approx(COIN.mean() + half, abs=0.006)


def test_interval_equals_the_plain_loop():
    groups = np.array(["b", "a", "a", "c", "b", "d"])
    correct = np.array([1, 0, 1, 1, 0, 1])
    generator = np.random.default_rng(5)
    members = [np.flatnonzero(groups == name) for name in sorted(set(groups.tolist()))]
    means = []
    for draw in generator.integers(4, size=(100, 4)):
        rows = np.concatenate([members[group] for group in draw])
        means.append(correct[rows].mean())
    found = bootstrap_accuracy(correct, groups=groups, seed=5, n=100)
    np.testing.assert_allclose([found.low, found.high], np.quantile(means, [0.025, 0.975]))


def test_rows_of_one_group_count_as_one():
    """Every row four times, as one group: the interval is that of the rows, not half as wide."""
    once = bootstrap_accuracy(COIN, seed=0)
    fourfold = np.repeat(COIN, 4)
    grouped = bootstrap_accuracy(fourfold, groups=np.repeat(np.arange(400), 4), seed=0)
    naive = bootstrap_accuracy(fourfold, seed=0)
    assert grouped == once
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_nominal_coverage_on_clustered_rows():
    generator = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        share = generator.beta(3, 2, size=60)
        correct = (generator.random((60, 5)) < share[:, None]).ravel()
        found = bootstrap_accuracy(correct, groups=np.repeat(np.arange(60), 5), seed=trial, n=300)
        hits += found.low <= 0.6 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_paired_difference_is_b_minus_a():
    better = COIN | (np.arange(400) % 10 == 0)
    found = paired_bootstrap(COIN, better, seed=0)
    assert found.estimate == pytest.approx(better.mean() - COIN.mean())
    assert found.low > 0
    assert not found.spans_zero
    mirrored = paired_bootstrap(better, COIN, seed=0)
    np.testing.assert_allclose([-mirrored.high, -mirrored.low], [found.low, found.high])


def test_pairing_beats_comparing_two_intervals():
    better = COIN | (np.arange(400) % 25 == 0)
    paired = paired_bootstrap(COIN, better, seed=0)
    one, other = bootstrap_accuracy(COIN, seed=0), bootstrap_accuracy(better, seed=0)
    assert paired.low > 0
    assert one.high > other.low


def test_equal_predictions_span_zero():
    assert paired_bootstrap(COIN, COIN, seed=0) == Interval(0.0, 0.0, 0.0)
    assert paired_bootstrap(COIN, COIN, seed=0).spans_zero


def test_fewer_than_two_groups_give_no_interval():
    one = bootstrap_accuracy([1, 0, 1], groups=["a", "a", "a"], seed=0)
    assert one.estimate == pytest.approx(2 / 3)
    assert np.isnan([one.low, one.high]).all()
    assert one.spans_zero
    assert np.isnan(bootstrap_accuracy([], seed=0)).all()


def test_rows_that_do_not_match_are_refused():
    with pytest.raises(SplitError, match="`correct_b` must have the shape of `correct_a`"):
        paired_bootstrap([1], [1, 0], seed=0)
    with pytest.raises(SplitError, match="`groups` must hold one name per row"):
        bootstrap_accuracy([1, 0], groups=["a"], seed=0)
    with pytest.raises(ParameterError, match="`n` must be at least 1; got 0"):
        bootstrap_accuracy([1, 0], seed=0, n=0)


@pytest.mark.parametrize("n_groups", [2, 5, 40])
def test_rows_that_are_all_alike_leave_room_for_what_so_few_groups_cannot_show(n_groups):
    groups = np.repeat(np.arange(n_groups), 3)
    exact = binomtest(0, n_groups).proportion_ci(0.95, method="exact")
    wrong = bootstrap_accuracy(np.zeros(len(groups)), groups=groups, seed=0)
    np.testing.assert_allclose(wrong, (0.0, 0.0, exact.high))
    right = bootstrap_accuracy(np.ones(len(groups)), groups=groups, seed=0)
    np.testing.assert_allclose(right, (1.0, 1 - exact.high, 1.0))


def test_one_group_allows_no_interval_even_where_all_rows_are_right():
    found = bootstrap_accuracy(np.ones(3), groups=["a", "a", "a"], seed=0)
    assert found.estimate == 1.0
    assert np.isnan([found.low, found.high]).all()
