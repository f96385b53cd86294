"""Rows found and sorted by keys: as Arrow finds and sorts them, whatever the keys are."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.keys import one_array, places_in, sorted_order

HEX = st.text("01ef", min_size=16, max_size=16).map(lambda text: "0" * 7 + text[:9])  # many begin alike
KEYS = {"alike": HEX, "any": st.one_of(st.none(), st.text("aé", max_size=16)), "null": st.one_of(st.none(), HEX)}


def test_a_column_in_one_chunk_is_not_copied():
    texts = pa.array(["a", "b", "c"])
    for n_chunks in range(4):
        column = pa.chunked_array([texts.slice(place, 1) for place in range(n_chunks)], pa.string())
        assert one_array(column).equals(texts.slice(0, n_chunks))
    assert one_array(pa.chunked_array([texts])).buffers()[2].address == texts.buffers()[2].address


@pytest.mark.parametrize("kind", KEYS)
@given(data=st.data())
def test_keys_are_found_where_arrow_finds_them(kind, data):
    wanted, known = (data.draw(st.lists(KEYS[kind], max_size=40)) for _ in range(2))
    known = sorted(known, key=lambda key: (key is None, key or "")) if data.draw(st.booleans()) else known
    arrays = [pa.array(["", *texts], pa.string()).slice(1) for texts in (wanted + known[:3], known)]
    assert places_in(*arrays).to_pylist() == pc.index_in(*arrays).to_pylist()
    chunked = [pa.chunked_array([array.slice(0, 2), array.slice(2)]) for array in arrays]
    assert places_in(*chunked).to_pylist() == pc.index_in(*arrays).to_pylist()


@pytest.mark.parametrize("kind", KEYS)
@given(data=st.data())
def test_rows_are_sorted_as_arrow_sorts_them(kind, data):
    rows = data.draw(st.lists(st.tuples(KEYS[kind], st.one_of(st.none(), st.integers(0, 2))), max_size=40))
    columns = [pa.array([row[place] for row in rows], kind) for place, kind in enumerate((pa.string(), pa.int64()))]
    keys = pa.table(columns, names=["uid", "row"])
    by = [(name, "ascending") for name in keys.column_names]
    assert sorted_order(keys).to_pylist() == pc.sort_indices(keys, sort_keys=by).to_pylist()
