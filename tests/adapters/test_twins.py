"""Twins among rows of features: exact against all pairs, and not misled by rows that say nothing."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from evenly.adapters import twins
from evenly.adapters.features import unit_rows
from evenly.adapters.twins import TWIN_COSINE, twin_clusters


def compared(rows):
    """The clusters by comparing all rows with all in double precision."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    unit = np.where(usable[:, None], wide, 1) / np.where(usable, lengths, 1)[:, None]
    near = (unit @ unit.T > TWIN_COSINE) & usable & usable[:, None]
    _, numbers = connected_components(near, directed=False)
    return np.unique(numbers, return_index=True)[1][numbers]


@pytest.fixture(params=["few", "many"])
def way(request, monkeypatch):
    """Both ways to candidates: all pairs, and by a tree."""
    monkeypatch.setattr(twins, "_FEW", 1 << 20 if request.param == "few" else 0)
    monkeypatch.setattr(twins, "_FEW_BLOCK", 7)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("way")
@given(st.integers(1, 40), st.integers(1, 32), st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 1e-3, 3e-3, 1e-2]))
@example(40, 1, 0, 1e-4)
def test_clusters_are_those_of_all_pairs(n, d, seed, jitter):
    draws = np.random.default_rng(seed)
    rows = draws.normal(size=(n, d))[draws.integers(0, n, 2 * n)] + jitter * draws.normal(size=(2 * n, d))
    assert np.array_equal(twin_clusters(rows), compared(rows))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_rounded_copies_are_twins_in_any_type(kind):
    rows = np.random.default_rng(0).normal(size=(300, 64))
    both = np.concatenate([unit_rows(rows), unit_rows(rows).astype(np.float16).astype(np.float32)]).astype(kind)
    assert np.array_equal(twin_clusters(both), np.tile(np.arange(300), 2))


@pytest.mark.usefixtures("way")
def test_rows_without_a_direction_have_no_twins():
    rows = np.zeros((6, 8), np.float32)
    rows[4], rows[5] = np.nan, np.inf
    assert twin_clusters(rows).tolist() == [0, 1, 2, 3, 4, 5]
    assert twin_clusters(np.empty((0, 8), np.float32)).tolist() == []


@pytest.mark.usefixtures("way")
def test_many_copies_are_joined_in_blocks(monkeypatch):
    monkeypatch.setattr(twins, "_PAIRS", 1000)
    monkeypatch.setattr(twins, "_BLOCK", 64)
    draws = np.random.default_rng(0)
    rows = draws.normal(size=(500, 48)).astype(np.float32)
    rows[100:400] = rows[100] + 1e-4 * draws.normal(size=(300, 48)).astype(np.float32)
    clusters = twin_clusters(rows)
    assert set(clusters[100:400].tolist()) == {100}
    assert np.array_equal(clusters, compared(rows))
