import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.duplicates.lsh import equal_runs

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.booleans()), max_size=20)


@given(ROWS)
def test_equal_rows_are_a_chain_and_the_first_of_each_is_left(rows):
    arrays = [np.array([row[part] for row in rows], dtype=np.int32).reshape(-1, 1) for part in (0, 1)]
    usable = np.array([row[2] for row in rows], dtype=np.bool_)
    (left, right), firsts = equal_runs(arrays, usable)
    chains = {}
    for place, (one, other, use) in enumerate(rows):
        if use:
            chains.setdefault((one, other), []).append(place)
    wanted = {pair for chain in chains.values() for pair in itertools.pairwise(chain)}
    assert set(zip(left.tolist(), right.tolist(), strict=True)) == wanted
    assert firsts.tolist() == sorted(chain[0] for chain in chains.values())


def test_rows_whose_hashes_meet_are_told_apart_by_their_bytes(monkeypatch):
    monkeypatch.setattr("evenly.curation.duplicates.lsh._hashed", lambda _, keys: keys * np.uint64(0))
    (left, right), firsts = equal_runs([np.array([[1], [2], [2], [1]])], np.ones(4, np.bool_))
    assert (left.tolist(), right.tolist(), firsts.tolist()) == ([1], [2], [0, 1, 3])
