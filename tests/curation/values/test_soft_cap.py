"""Soft cap sampling against the published algorithm, drawn by numpy, and its draws by hash."""

import numpy as np
import pytest

from evenly.curation.errors import RuleError
from evenly.curation.values.soft_cap import SoftCap, sampling_weights, soft_cap

SCORES = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def keys_of(n, seed):
    return np.random.default_rng(seed).integers(0, 2**63, n).astype(np.uint64)


def by_the_algorithm(scores, draws, penalty, batch, rng):
    scores, repeats = scores.copy(), np.zeros(len(scores))
    left = draws
    while left:
        p = np.exp(scores) / np.exp(scores).sum()
        drawn = rng.choice(len(scores), min(batch, left), replace=False, p=p)
        repeats[drawn] += 1
        scores[drawn] -= penalty
        left -= len(drawn)
    return repeats


@pytest.mark.parametrize(("draws", "penalty", "batch"), [(1, 0.15, 1), (12, 0.15, 3), (40, 0.5, 2), (7, 0.0, 5)])
def test_repeats_are_distributed_as_the_algorithm_draws_them(draws, penalty, batch):
    rule, tries = SoftCap(of={"x": 1}, draws=draws, penalty=penalty, batch=batch), 1500
    ours = np.array([soft_cap(SCORES, keys_of(6, seed), rule) for seed in range(tries)])
    rng = np.random.default_rng(0)
    theirs = np.array([by_the_algorithm(SCORES, draws, penalty, batch, rng) for _ in range(tries)])
    assert (ours.sum(axis=1) == draws).all()
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / tries) + 1e-9
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4.5 * error).all()
    assert np.allclose(ours.std(axis=0), theirs.std(axis=0), atol=0.12)


def test_a_draw_hangs_on_the_pair_and_not_on_its_place():
    scores, keys = np.random.default_rng(1).normal(size=500), keys_of(500, 2)
    rule, order = SoftCap(of={"x": 1}), np.random.default_rng(3).permutation(500)
    repeats = soft_cap(scores, keys, rule)
    assert repeats.sum() == 500
    assert np.array_equal(repeats[order], soft_cap(scores[order], keys[order], rule))
    assert not np.array_equal(repeats, soft_cap(scores, keys_of(500, 9), rule))


def test_weights_are_the_softmax_of_the_scores():
    assert np.allclose(sampling_weights(SCORES + 900), np.exp(SCORES) / np.exp(SCORES).sum())
    assert len(sampling_weights(np.empty(0))) == len(soft_cap(np.empty(0), keys_of(0, 0), SoftCap(of={"x": 1}))) == 0


@pytest.mark.parametrize("fields", [{"of": {}}, {"of": {"x": float("nan")}}])
def test_columns_without_numbers_are_refused(fields):
    with pytest.raises(RuleError, match="`of` must name columns"):
        SoftCap(**fields)
