import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.batched_rows import ahead, cut, filled


@given(st.integers(0, 60), st.integers(1, 9))
def test_cutting_covers_each_position_once_in_order(n, size):
    parts = list(cut(n, size))
    assert [position for part in parts for position in part] == list(range(n))
    assert all(len(part) == size for part in parts[:-1])


@given(st.lists(st.integers(), max_size=30), st.integers(1, 5))
def test_results_come_in_the_order_of_the_items(items, count):
    with ThreadPoolExecutor(3) as pool:
        assert list(ahead(pool, str, items, count)) == [str(item) for item in items]


def test_no_more_than_the_asked_for_calls_are_under_way():
    taken = []
    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, str, (taken.append(item) or item for item in range(100)), 4)
        next(results)
        assert len(taken) == 5
        results.close()


def test_an_error_cancels_what_waits():
    started = []

    def work(item):
        started.append(item)
        if item == 0:
            raise ValueError("first")
        time.sleep(0.05)
        return item

    with ThreadPoolExecutor(1) as pool:
        results = ahead(pool, work, range(50), 10)
        with pytest.raises(ValueError, match="first"):
            list(results)
    assert len(started) < 5  # of the 11 that were handed over


def test_a_short_batch_is_filled_up():
    import torch

    batch = filled(torch.ones(2, 3), 4, 7)
    assert batch.tolist() == [[1, 1, 1], [1, 1, 1], [7, 7, 7], [7, 7, 7]]
    assert filled(batch, 4, 0) is batch
