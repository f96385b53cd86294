import lance
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.storage.pools.columns import PoolSource, Stretch, plain_column, pool_columns
from evenly.storage.pools.rows import PoolError
from evenly.storage.tables.hashing import table_hash
from tests.storage.arrow_values import SCALARS, kinds, rows_of, shown

STORED = [pair for pair in SCALARS if not pa.types.is_interval(pair[0])]


@st.composite
def columns(draw):
    kind, values = draw(kinds(STORED))
    return pa.array(draw(rows_of(values)), kind)


@settings(deadline=None)
@given(columns(), st.integers(0, 3))
def test_a_plain_column_holds_the_same_values_and_is_plain(column, start):
    plain = plain_column(pa.chunked_array([column.slice(start)]))
    plain.validate(full=True)
    assert shown(plain.to_pylist()) == shown(column.slice(start).to_pylist())
    assert plain_column(pa.chunked_array([plain])).type == plain.type
    plain.take(pa.array(range(len(plain)), pa.int64()))  # what Arrow cannot do with views


@settings(deadline=None, max_examples=30)
@given(columns())
def test_a_sample_table_gives_a_plain_column_back_as_it_was(tmp_path_factory, column):
    table = pa.table({"uid": [f"{row}" for row in range(len(column) + 1)]})
    plain = plain_column(pa.chunked_array([column]))
    table = table.append_column("x", pa.concat_arrays([plain, pa.nulls(1, plain.type)]))
    path = str(tmp_path_factory.mktemp("samples") / "s.lance")
    lance.write_dataset(table, path)
    assert table_hash(lance.dataset(path).to_table()) == table_hash(table)


def test_text_within_a_column_that_is_no_utf8_is_repaired():
    broken = pa.array([b"caf\xe9", b"ok", None]).view(pa.string())
    column = pa.ListArray.from_arrays(pa.array([0, 2, None, 3], pa.int32()), broken)
    assert plain_column(pa.chunked_array([column])).to_pylist() == [["caf\ufffd", "ok"], [None], None]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([pa.MonthDayNano([1, 2, 3])]),
        pa.array([{}], pa.struct([])),
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
    ],
    ids=lambda column: str(column.type),
)
def test_a_column_of_a_type_that_cannot_be_stored_is_refused_by_its_name(column):
    names = [pa.array(["x"]), pa.array(["y"]), pa.array([None], pa.string())]
    place = Stretch(PoolSource(kind="parquet", path="a"), "a.parquet", "0" * 64, 0)
    with pytest.raises(PoolError, match=r"column `odd` must be of a type that can be stored; got .* at `a.parquet`"):
        pool_columns(*names, pa.table({"odd": column}), place)
