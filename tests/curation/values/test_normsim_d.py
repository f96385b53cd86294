"""NormSim-D against its algorithm, run for each size on its own, and in any number of parts."""

import numpy as np
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.values.normsim_d import NormSimD, pruned_values
from evenly.features import to_unit_rows
from tests.curation.values.test_negclip_loss import unit


def skewed(n, *, seed, d=16):
    """Rows around a few directions, of which some are rarer."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, d))
    return to_unit_rows(centres[rng.choice(6, n, p=[0.4, 0.25, 0.15, 0.1, 0.07, 0.03])] + rng.normal(size=(n, d)))[0]


def by_the_algorithm(rows, size, rounds):
    """Which rows stay, of which `size` shall: each round keeps those of the largest f' S f, S the mean of f f'."""
    rows = rows.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    left, chunk = np.arange(len(rows)), -(-(len(rows) - size) // rounds)
    for number in range(rounds):
        variance = sum(np.outer(row, row) for row in rows[left]) / len(left)
        scores = np.array([row @ variance @ row for row in rows[left]])
        keep = size if number == rounds - 1 else len(left) - chunk
        left = left[np.argsort(-scores, kind="stable")[:keep]]
    return set(left.tolist())


@pytest.mark.parametrize(("share", "rounds"), [(0.5, 5), (0.2, 8), (0.3, 7), (0.9, 1)])
def test_the_best_share_by_value_is_what_the_algorithm_keeps_of_that_size(share, rounds):
    rows = skewed(200, seed=1)
    values = pruned_values(lambda: [rows], NormSimD(rounds=round(rounds / (1 - share))))
    assert set(np.flatnonzero(values >= 1 - share - 1e-9).tolist()) == by_the_algorithm(
        rows, round(200 * share), rounds
    )


def test_pictures_of_a_rare_kind_go_first_and_values_are_the_shares_that_went_before():
    common, rare = np.tile([[1.0, 0.1, 0]], (9, 1)), np.array([[0.0, 0, 1]])
    values = pruned_values(lambda: [np.concatenate([common, rare])], NormSimD(rounds=10))
    assert values.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.0])


def test_any_cut_into_parts_gives_the_same_to_the_bit():
    rows = skewed(9001, seed=2, d=24)
    whole = pruned_values(lambda: [rows], NormSimD(rounds=4))
    for cuts in ([5000], [0, 1, 4097], [3000, 3000, 9001]):
        assert np.array_equal(pruned_values(lambda cuts=cuts: np.split(rows, cuts), NormSimD(rounds=4)), whole)
    assert sorted(whole.tolist()) == pytest.approx(np.arange(9001) / 9001)


def test_one_round_is_the_order_of_normsim_with_all_pairs_as_its_target():
    rows = unit(300, seed=3).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    norms = np.linalg.norm(rows @ rows.T, axis=1)
    order = np.argsort(pruned_values(lambda: [unit(300, seed=3)], NormSimD(rounds=1)))
    assert (np.diff(norms[order]) > -1e-3).all()


def test_no_pairs_have_no_values_and_no_rounds_are_refused():
    assert pruned_values(lambda: [np.empty((0, 4), np.float16)], NormSimD()).tolist() == []
    with pytest.raises(RuleError, match="`rounds` must be at least 1; got 0"):
        NormSimD(rounds=0)
