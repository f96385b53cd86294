from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.storage.errors import DamagedError, NotFoundError, StorageError
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.tables.arrow_files import RecentTables, null_rows, read_schema, read_table, write_table
from evenly.storage.tables.hashing import table_hash
from tests.storage.test_ledger import NOW

rows = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(max_size=8),
            "number": st.none() | st.floats(allow_nan=True, width=64),
            "flag": st.none() | st.booleans(),
            "list": st.none() | st.lists(st.none() | st.integers(-5, 5), max_size=3),
        }
    ),
    max_size=12,
)
SCHEMA = pa.schema(
    [("text", pa.string()), ("number", pa.float64()), ("flag", pa.bool_()), ("list", pa.list_(pa.int32()))]
)


@settings(deadline=None)
@given(rows)
def test_a_written_table_is_read_back_as_it_was(tmp_path_factory, values):
    path, table = tmp_path_factory.mktemp("table") / "t.arrow", pa.Table.from_pylist(values, SCHEMA)
    write_table(path, table)
    assert repr(read_table(path).to_pylist()) == repr(table.to_pylist())
    assert read_schema(path) == SCHEMA
    assert read_table(path, ["flag", "text"]).column_names == ["flag", "text"]
    found = read_table(path, ["number"], pc.field("text") == "a")["number"].to_pylist()
    assert repr(found) == repr([value["number"] for value in values if value["text"] == "a"])


def test_nothing_is_written_of_what_a_null_was_laid_over(tmp_path: Path):
    hidden = pc.if_else(pa.array([True, False]), pa.scalar(None, pa.string()), pa.array(["forgotten", "shown"]))
    write_table(tmp_path / "t.arrow", pa.table({"text": hidden, "none": hidden}).slice(0, 2))
    held = (tmp_path / "t.arrow").read_bytes()
    assert b"forgotten" in pa.py_buffer(hidden.buffers()[2]).to_pybytes()
    assert (b"forgotten" in held, b"shown" in held) == (False, True)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.list_(pa.string())])
def test_nothing_is_written_of_the_rows_beside_a_slice(tmp_path: Path, kind: pa.DataType):
    texts = ["forgotten", "shown", None, "forgotten"]
    rows = pa.array([text and [text] for text in texts] if pa.types.is_nested(kind) else texts, kind)
    write_table(tmp_path / "t.arrow", pa.table({"text": rows}).slice(1, 2))
    held = (tmp_path / "t.arrow").read_bytes()
    assert (b"forgotten" in held, b"shown" in held) == (False, True)


def test_a_damaged_file_is_an_error_or_another_table_and_never_a_crash(tmp_path: Path):
    path, table = tmp_path / "t.arrow", pa.table({"text": ["a", None, "b" * 80], "list": [[1], None, [2, 3]]})
    write_table(path, table)
    data, same = path.read_bytes(), 0
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            found = read_table(path)
            found.validate(full=True)
        except (DamagedError, pa.ArrowInvalid):
            continue
        same += table_hash(found) == table_hash(table)
    assert same < len(data)


def test_a_missing_table_is_named(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"absent\.arrow"):
        read_table(tmp_path / "absent.arrow")


def test_a_table_that_cannot_be_written_is_one_clear_error_and_is_not_there(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "t.arrow"
    with pytest.raises(StorageError, match=r"t\.arrow` must be writable; .*Nothing was committed"):
        write_table(path, pa.table({"uid": ["a"]}))


TABLE = pa.table({"uid": ["a", "b"], "value": [1.0, 2.0]})


def test_the_oldest_tables_go_first_and_a_large_one_is_not_held():
    tables = RecentTables(max_bytes=2 * TABLE.nbytes)
    for name in "ab":
        tables.add(Path(name), TABLE)
    assert tables.get(Path("a"), ["value"]).equals(TABLE.select(["value"]))
    tables.add(Path("c"), TABLE)
    assert [tables.get(Path(name)) is not None for name in "abc"] == [True, False, True]
    tables.add(Path("d"), pa.concat_tables([TABLE] * 3))
    assert [tables.get(Path(name)) is not None for name in "abcd"] == [True, False, True, False]


def test_a_ledger_reads_what_it_wrote_without_the_disk_and_another_from_there(workspace):
    ledger = Ledger(workspace, recent=RecentTables())
    spec = StepSpec(name="step", version=1, rule={}, inputs={})
    record = ledger.commit(spec, StepOutput(tables={"some": TABLE}), uids=None, started=NOW)
    assert ledger.table(record, "some", ["value"]).equals(Ledger(workspace).table(record, "some", ["value"]))
    (file,) = (workspace.ledger / "step").iterdir()
    file.write_bytes(b"")
    assert ledger.table(record, "some").equals(TABLE)


PLAIN = [pa.string(), pa.int32(), pa.list_(pa.uint8())]
OF_FIXED_SIZE = [
    pa.list_(pa.uint8(), 768),
    pa.list_(pa.float64(), 3),
    pa.list_(pa.string(), 2),
    pa.list_(pa.bool_(), 9),
]


@pytest.mark.parametrize("kind", [*PLAIN, *OF_FIXED_SIZE], ids=str)
@pytest.mark.parametrize("n", [0, 5])
def test_they_equal_the_nulls_of_arrow(kind: pa.DataType, n: int) -> None:
    nulls = null_rows(n, kind)
    nulls.validate(full=True)
    assert nulls.type == kind
    assert nulls.null_count == n
    assert nulls.equals(pa.nulls(n, kind))
    assert table_hash(pa.table({"column": nulls})) == table_hash(pa.table({"column": pa.nulls(n, kind)}))


def test_below_null_lists_of_numbers_there_is_no_null_that_would_make_taking_rows_slow() -> None:
    nulls = null_rows(4, pa.list_(pa.uint8(), 768))
    assert nulls.values.null_count == 0
    assert nulls.take(pa.array([3, 1])).values.null_count == 0
