import numpy as np
import pyarrow as pa
import pytest

from evenly.storage.errors import NotFoundError
from evenly.storage.feature_store import RowStore


@pytest.mark.parametrize("kind", [np.float32, np.uint64])
def test_rows_come_back_as_they_were_in_the_order_asked_for(workspace, kind):
    store = RowStore(workspace, "maker", "codes")
    rows = np.array([[1, 2], [3, 4], [2**62 + 1, 0]], dtype=kind)
    store.append(pa.array(["a", "b"]), rows[:2])
    store.append(pa.array(["c"]), rows[2:])
    found = store.read(pa.array(["c", "a", "c"]))
    assert found.dtype == kind
    assert (found == rows[[2, 0, 2]]).all()


def test_missing_ids_are_told_each_once(workspace):
    store = RowStore(workspace, "maker", "codes")
    assert store.missing(pa.array(["b", "a", "b"])).to_pylist() == ["b", "a"]
    store.append(pa.array(["a"]), np.zeros((1, 2)))
    assert store.missing(pa.array(["b", "a", "b"])).to_pylist() == ["b"]


def test_not_a_number_is_a_row_like_others(workspace):
    store = RowStore(workspace, "maker", "scores")
    store.append(pa.array(["a"]), np.full((1, 2), np.nan, np.float32))
    assert np.isnan(store.read(pa.array(["a"]))).all()


def test_ids_without_a_row_are_no_zeros(workspace):
    store = RowStore(workspace, "maker", "codes")
    with pytest.raises(NotFoundError, match="1 of 1 ids have no row"):
        store.read(pa.array(["a"]))
    store.append(pa.array(["a"]), np.zeros((1, 2)))
    with pytest.raises(NotFoundError, match="1 of 2 ids have no row"):
        store.read(pa.array(["a", "b"]))
