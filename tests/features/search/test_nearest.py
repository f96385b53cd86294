import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.features.errors import RowsError
from evenly.features.search.nearest import nearest_rows, query_row
from evenly.features.unit_rows import cosine_scores, to_unit_rows


def rows(n, d=8, seed=0):
    return to_unit_rows(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))[0]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 3), st.data())
def test_the_nearest_rows_are_those_of_sorting_all_whatever_the_batches_and_their_order(n, k, seed, data):
    stored = rows(n, seed=seed)
    stored = np.concatenate([stored, stored[: n // 2]])  # ties
    query = query_row(rows(1, seed=seed + 9), np.zeros((0, 0)))
    places = np.array(data.draw(st.permutations(range(len(stored)))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stored)), max_size=4)))
    batches = [(part, stored[part]) for part in np.split(places, cuts)]
    scores = cosine_scores(np.broadcast_to(query, stored.shape), stored)
    want = np.lexsort((np.arange(len(stored)), -scores))[:k]
    got = nearest_rows(query, batches, k)
    assert got[0].tolist() == want.tolist()
    assert got[1].tobytes() == scores[want].tobytes()


def test_a_query_is_the_mean_direction_whatever_the_lengths():
    a, b = np.eye(2, dtype=np.float32)
    assert query_row(np.stack([a * 9, b]), np.zeros((0, 0))) == pytest.approx([0.5**0.5] * 2, abs=1e-3)


def test_what_is_subtracted_pushes_away():
    plain, less = (query_row(np.eye(3)[:1], minus) for minus in (np.zeros((0, 0)), np.eye(3)[1:2]))
    assert plain[1] == 0
    assert less[0] == pytest.approx(0.5**0.5)
    assert less[1] == pytest.approx(-(0.5**0.5))


def test_a_query_of_nothing_is_refused():
    with pytest.raises(RowsError, match="`minus` must differ from what is searched for; got the same"):
        query_row(np.eye(3)[:1], 2 * np.eye(3)[:1])
