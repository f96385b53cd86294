import datetime as dt
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from evenly.storage.errors import StorageError
from evenly.storage.tables.arrow_files import read_table, write_table
from evenly.storage.tables.hashing import table_hash
from tests.storage.arrow_values import SCALARS, kinds, other_layout, rows_of, shown

PARQUET = [pair for pair in SCALARS if not pa.types.is_interval(pair[0])]
KNOWN = [
    (pa.bool_(), [True, None, False], "1ebee31761de7c77"),
    (pa.int8(), [1, None, -2], "e3935c388d8bb8ae"),
    (pa.uint64(), [2**63, None, 2], "9ce0744ee0a3dda5"),
    (pa.float16(), [1.5, None, 2.0], "76656e2c3c386a2c"),
    (pa.float32(), [1.5, None, -0.0], "61964acb11f8ec5d"),
    (pa.float64(), [float("nan"), None, 2.0], "4e14d2861983b643"),
    (pa.date64(), [dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)], "dc606a2cdd8991ba"),
    (pa.time64("us"), [dt.time(1), None, dt.time(2)], "6f1573833fc2d276"),
    (pa.timestamp("us", "UTC"), [dt.datetime(2020, 1, 1), None, dt.datetime(2021, 1, 1)], "895d682d132d034f"),  # noqa: DTZ001
    (pa.duration("s"), [dt.timedelta(1), None, dt.timedelta(2)], "3386866eb202d124"),
    (pa.string(), ["a", None, ""], "b332936a2fed7fe0"),
    (pa.binary(), [b"a", None, b""], "0a740f66452dd5f0"),
    (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b"], "ad9ec20f361cd954"),
    (pa.list_(pa.int32()), [[1], None, [2, None]], "829bbb4e0e016701"),
    (pa.large_list(pa.list_(pa.string())), [[["a"], None], None, [[]]], "5e079a953e40b376"),
    (pa.list_(pa.float32(), 2), [[1, 2], None, [3, 4]], "bf482b33d6054679"),
    (pa.null(), [None] * 3, "8b9eab84888ad632"),
]


def table_of(values, kind):
    return pa.table({"x": pa.array(values, kind)})


@pytest.mark.parametrize(("kind", "values", "digest"), KNOWN, ids=lambda value: str(value)[:24])
def test_hashes_of_stored_builds_do_not_change(kind, values, digest):
    assert table_hash(table_of(values, kind))[:16] == digest


@st.composite
def columns(draw, scalars=SCALARS):
    kind, values = draw(kinds(scalars))
    return kind, draw(rows_of(values))


@settings(deadline=None)
@given(columns(), st.integers(1, 3))
def test_equal_values_of_any_type_have_one_hash(column, size):
    kind, values = column
    table = table_of(values, kind)
    pieces = [table.slice(start, size) for start in range(0, len(values), size)]
    padded = table_of([*values[:1], *values, *values[:2]], kind).slice(min(1, len(values)), len(values))
    copied = ipc.open_stream(_as_stream(table)).read_all()
    digest = table_hash(table)
    assert [table_hash(other) for other in (table_of(list(values), kind), padded, copied)] == [digest] * 3
    assert table_hash(pa.concat_tables([*pieces, table.slice(0, 0)])) == digest
    assert table_hash(table_of(values, other_layout(kind))) == digest


def _as_stream(table):
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@settings(deadline=None)
@given(st.data())
def test_other_values_of_any_type_have_another_hash(data):
    kind, values = data.draw(kinds())
    left, right = data.draw(rows_of(values)), data.draw(rows_of(values))
    tables = [table_of(rows, kind) for rows in (left, right)]
    same = shown(tables[0].to_pylist()) == shown(tables[1].to_pylist())
    assert (table_hash(tables[0]) == table_hash(tables[1])) == same


@settings(deadline=None)
@given(columns())
@example((pa.string_view(), [None, ""]))
@example((pa.list_(pa.binary_view()), [None, [b"a", None]]))
def test_a_table_that_is_written_and_read_has_the_same_hash(tmp_path_factory, column):
    path, table = tmp_path_factory.mktemp("table") / "t.arrow", table_of(column[1], column[0])
    write_table(path, table)
    assert table_hash(read_table(path)) == table_hash(table)


@settings(deadline=None)
@given(columns(PARQUET))
def test_what_parquet_gives_back_has_the_same_hash_where_it_keeps_the_type(tmp_path_factory, column):
    path, table = tmp_path_factory.mktemp("table") / "t.parquet", table_of(column[1], column[0])
    pq.write_table(table, path)
    read = pq.read_table(path)
    if read.schema.field("x").type == column[0]:
        assert table_hash(read) == table_hash(table)


def test_another_process_gives_the_same_hash(tmp_path):
    rows = {
        "struct": pa.array([{"a": [1], "b": "x"}, None], pa.struct([("a", pa.list_(pa.int8())), ("b", pa.string())])),
        "map": pa.array([[("k", b"v")], []], pa.map_(pa.string(), pa.binary(1))),
        "decimal": pa.array(["1.50", None]).cast(pa.decimal128(9, 2)),
        "day": pa.array([dt.date(2020, 1, 1), None]),
    }
    write_table(tmp_path / "t.arrow", pa.table(rows))
    script = "import sys; from pathlib import Path; from evenly.storage.tables.arrow_files import read_table; "
    script += "from evenly.storage.tables.hashing import table_hash; print(table_hash(read_table(Path(sys.argv[1]))))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "t.arrow")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == table_hash(pa.table(rows))


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (pa.uuid(), [b"a" * 16, None, b"b" * 16]),
        (pa.json_(), ["1", None, "[]"]),
        (pa.bool8(), [1, None, 0]),
        (pa.fixed_shape_tensor(pa.float32(), [2]), [[1.0, 2.0], None, [3.0, 4.0]]),
    ],
    ids=str,
)
def test_extension_types_are_hashed_by_what_they_store(kind, rows):
    def table(rows):
        return pa.table({"x": pa.ExtensionArray.from_storage(kind, pa.array(rows, kind.storage_type))})

    assert table_hash(table(rows)) == table_hash(table([*rows, None]).slice(0, 3))
    assert len({table_hash(table(rows)), table_hash(table(rows[::-1])), table_hash(table([None, *rows[:2]]))}) == 3
    assert table_hash(table(rows)) != table_hash(pa.table({"x": pa.array(rows, kind.storage_type)}))


def test_run_ends_and_what_stands_under_a_null_do_not_enter():
    import pyarrow.compute as pc

    plain = pa.array(["a", "a", None, "b"])
    assert table_hash(pa.table({"x": pc.run_end_encode(plain)})) == table_hash(pa.table({"x": plain}))
    inner = pa.array([1, 2])
    hidden = pa.StructArray.from_arrays([inner], ["a"], mask=pa.array([False, True]))
    assert table_hash(pa.table({"x": hidden})) == table_hash(table_of([{"a": 1}, None], hidden.type))


def test_a_type_without_known_values_is_refused_by_the_name_of_its_column():
    union = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])
    with pytest.raises(StorageError, match=r"column `mixed` must be of a type .* got sparse_union"):
        table_hash(pa.table({"mixed": union}))


def test_hash_does_not_depend_on_text_layout():
    plain = pa.table({"text": ["a", None, "bc"]})
    for layout in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        assert table_hash(plain.set_column(0, "text", plain["text"].cast(layout))) == table_hash(plain)


def test_a_null_is_not_an_empty_text():
    assert table_hash(pa.table({"text": [None, ""]})) != table_hash(pa.table({"text": ["", None]}))
