import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.duplicates.colours import ColourCells, colour_pairs
from tests.few_examples import few


@pytest.fixture(autouse=True, scope="module")
def _small_leaves():
    """Trees of several levels over few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenly.curation.duplicates.colours._LEAF", 4)
        yield


def pairs_of(colours, max_colour, hashes, max_distance):
    parts = colour_pairs(colours, max_colour, hashes, max_distance)
    found = [pair for part in parts for pair in zip(*(side.tolist() for side in part), strict=True)]
    assert len(found) == len(set(found))
    return set(found)


def all_with_all(colours, max_colour, hashes, max_distance):
    wide = colours.astype(np.int64)
    return {
        (i, j)
        for j in range(len(wide))
        for i in range(j)
        if abs(wide[i] - wide[j]).max() <= max_colour and np.bitwise_count(hashes[i] ^ hashes[j]) <= max_distance
    }


def pictures(n, rng, *, spread, kinds):
    """Grids of `kinds` base pictures, all moved by up to `spread`, with hashes that differ in a few bits."""
    kind = rng.integers(0, kinds, n)
    base = rng.integers(0, 256, (kinds, 768))
    moved = rng.integers(-spread, spread + 1, (n, 1)) + rng.integers(-1, 2, (n, 768))
    colours = np.clip(base[kind] + moved, 0, 255).astype(np.uint8)
    hashes = rng.integers(0, 2**63, kinds, dtype=np.uint64)[kind] ^ (
        np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64)
    )
    return colours, hashes


@few(20, most=60)
@given(st.integers(0, 150), st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 16), st.integers(0, 40))
def test_pairs_are_those_of_comparing_all_with_all(n, seed, kinds, spread, max_colour):
    colours, hashes = pictures(n, np.random.default_rng(seed), spread=spread, kinds=kinds)
    for max_distance in (0, 2, 30):
        assert pairs_of(colours, max_colour, hashes, max_distance) == all_with_all(
            colours, max_colour, hashes, max_distance
        )


@pytest.mark.parametrize("max_colour", [4, 9, 19])
def test_boxes_are_left_out_only_where_they_are_further_apart_than_the_limit(max_colour):
    colours, hashes = pictures(300, np.random.default_rng(1), spread=16, kinds=1)
    assert pairs_of(colours, max_colour, hashes, 64) == all_with_all(colours, max_colour, hashes, 64)


@pytest.mark.parametrize("max_colour", [0.0, 21.9, 22.0, 255.0])
def test_a_limit_is_included(max_colour):
    colours = np.zeros((2, 768), np.uint8)
    colours[1, 5] = 22
    assert bool(pairs_of(colours, max_colour, np.zeros(2, np.uint64), 0)) == (max_colour >= 22)


def test_many_pairs_come_in_parts_and_none_is_cut_off(monkeypatch):
    monkeypatch.setattr("evenly.curation.duplicates.colours.CHUNK", 32)
    colours, hashes = np.full((300, 768), 7, np.uint8), np.zeros(300, np.uint64)
    assert len(pairs_of(colours, 0, hashes, 0)) == 300 * 299 // 2


@few(20, most=60)
@given(st.integers(0, 150), st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 60), st.integers(0, 5))
def test_near_grids_meet_in_the_cell_of_one_of_them_whatever_the_cells_were_learnt_from(n, seed, kinds, spread, depth):
    rng, limit = np.random.default_rng(seed), 22.5
    colours, hashes = pictures(n, rng, spread=spread, kinds=kinds)
    cells = ColourCells.learn(colours[: n // 2], depth, limit)
    rows, numbers = cells.assign(colours, limit)
    assert len(set(zip(rows.tolist(), numbers.tolist(), strict=True))) == len(rows)
    home = {row: max(numbers[rows == row]) for row in range(n)}
    near = all_with_all(colours, limit, hashes, 64)
    met = []
    for cell in range(2**depth):
        here = rows[numbers == cell].tolist()
        met += [(i, j) for i, j in near if i in here and j in here and cell in {home[i], home[j]}]
    assert sorted(met) == sorted(near)


def test_cells_halve_a_pool_of_many_colours():
    colours = np.random.default_rng(1).integers(0, 256, (4000, 768)).astype(np.uint8)
    rows, numbers = ColourCells.learn(colours, 4, 22).assign(colours, 22)
    home = np.zeros(4000, np.int64)
    np.maximum.at(home, rows, numbers)
    assert np.bincount(home, minlength=16).min() > 100
    assert len(rows) < 3 * 4000
