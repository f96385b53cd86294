import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.search.codes import binary_codes, centre_of, shortlists


@given(st.integers(1, 30), st.integers(1, 70), st.integers(1, 40), st.integers(1, 9))
def test_the_shortlist_has_the_rows_whose_signs_differ_least_whatever_the_blocks(n, d, m, block):
    rows = np.random.default_rng(n * d).standard_normal((n, d)).astype(np.float16)
    rows = np.concatenate([rows, rows])  # ties
    centre = np.full(d, 0.1, np.float32)
    signs = rows > centre
    codes = binary_codes(rows, centre)
    assert codes.shape == (2 * n, -(-d // 64) * 8)
    blocks = [codes[start : start + block] for start in range(0, 2 * n, block)]
    lists = shortlists(codes[:2], blocks, m)
    assert [places.tolist() for places in lists] == [
        np.lexsort((np.arange(2 * n), (signs != row).sum(axis=1)))[:m].tolist() for row in signs[:2]
    ]
    assert shortlists(codes[:1], blocks, max(1, m // 2))[0].tolist() == lists[0][: max(1, m // 2)].tolist()


def test_the_centre_is_the_mean_whatever_the_blocks():
    rows = np.arange(12, dtype=np.float16).reshape(4, 3)
    assert centre_of([rows[:1], rows[1:]]) == pytest.approx(rows.mean(axis=0))
