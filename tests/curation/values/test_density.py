"""Density-based pruning against its quadratic program, and against quotas counted one N after the other."""

import numpy as np
import pytest

from evenly.curation.values.density import Density, cluster_complexities, share_out

RNG = np.random.default_rng(5)
COUNTS = np.array([40, 1, 7, 200, 15, 3, 90])
COMPLEXITIES = np.array([0.3, 0.1, 0.5, 0.05, 0.4, 0.2, 0.33])


def by_the_program(complexities, counts, size, temperature):
    """min |x - p N|^2 over sum x = N, least <= x <= counts: x = clip(p N + level), the level found by halving."""
    weights = np.exp(complexities / temperature)
    wanted = weights / weights.sum() * size
    least = np.minimum(1, counts - 1)
    low, high = -float(counts.sum()) * 2, float(counts.sum()) * 2
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.clip(wanted + level, least, counts).sum() < size else (low, level)
    return np.clip(wanted + low, least, counts)


@pytest.mark.parametrize("temperature", [0.02, 0.1, 0.5])
def test_quotas_are_those_of_the_program_at_every_size(temperature):
    quotas = share_out(COMPLEXITIES, COUNTS, temperature)
    for size in range(6, COUNTS.sum() + 1):
        ours = [np.interp(size, quotas.sizes, quotas.quotas[:, cluster]) for cluster in range(len(COUNTS))]
        assert np.allclose(ours, by_the_program(COMPLEXITIES, COUNTS, size, temperature), atol=1e-6), size


def test_the_program_s_solution_is_the_nearest_of_all_that_are_allowed():
    wanted = np.exp(COMPLEXITIES / 0.1) / np.exp(COMPLEXITIES / 0.1).sum() * 100
    best = by_the_program(COMPLEXITIES, COUNTS, 100, 0.1)
    least = np.minimum(1, COUNTS - 1)
    for _ in range(2000):
        i, j = RNG.choice(len(COUNTS), 2, replace=False)
        moved, step = best.copy(), RNG.uniform(0, 1)
        moved[i], moved[j] = moved[i] + step, moved[j] - step
        if (moved >= least).all() and (moved <= COUNTS).all():
            assert ((moved - wanted) ** 2).sum() >= ((best - wanted) ** 2).sum() - 1e-9


def test_the_best_share_by_value_is_each_cluster_s_rounded_quota_of_its_farthest():
    quotas = share_out(COMPLEXITIES, COUNTS, 0.1)
    values = [quotas.values(cluster, count) for cluster, count in enumerate(COUNTS)]
    n = COUNTS.sum()
    for size in (60, 100, 178, 300):
        kept = [int((of >= 1 - size / n).sum()) for of in values]
        program = by_the_program(COMPLEXITIES, COUNTS, size, 0.1)
        assert np.abs(np.array(kept) - program).max() <= 0.5 + 1e-6
        assert all((np.diff(of) <= 0).all() for of in values)


def test_a_complexity_is_the_product_of_the_mean_distances():
    centroids = np.array([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0], [0, 0, 1]], np.float32)
    counts, sums = np.array([2, 4, 0, 5]), np.array([0.4, 0.4, 0.0, 1.0])
    inter = [(0.4 + 1) / 2, (0.2 + 1) / 2, (0.2 + 0.4) / 2, 1.0]
    expected = [0.2 * inter[0], 0.1 * inter[1], None, 0.2 * inter[3]]
    expected[2] = np.mean([expected[0], expected[1], expected[3]])
    assert np.allclose(cluster_complexities(centroids, sums, counts, 2), expected, atol=1e-6)


def test_a_rule_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="`clusters` must be at least 2; got 1"):
        Density(clusters=1)
