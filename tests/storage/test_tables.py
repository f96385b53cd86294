from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import NotFoundError, StorageError
from storage.tables import read_table, table_hash, write_table

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


@given(rows, st.integers(1, 5))
def test_hash_does_not_depend_on_chunks_or_slices(values, size):
    table = pa.Table.from_pylist(values, SCHEMA)
    pieces = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    chunked = pa.concat_tables([*pieces, table.slice(0, 0)])
    padded = pa.concat_tables([table.slice(0, 1), table]).combine_chunks().slice(min(1, table.num_rows))
    assert table_hash(chunked) == table_hash(table) == table_hash(padded)


@given(rows, rows)
def test_different_rows_have_different_hashes(left, right):
    same = repr(left) == repr(right)
    assert (table_hash(pa.Table.from_pylist(left, SCHEMA)) == table_hash(pa.Table.from_pylist(right, SCHEMA))) == (
        same or _equal_up_to_zero_sign(left, right)
    )


def _equal_up_to_zero_sign(left, right):
    return repr(left).replace("-0.0", "0.0") == repr(right).replace("-0.0", "0.0")


def test_hash_does_not_depend_on_text_layout():
    plain = pa.table({"text": ["a", None, "bc"]})
    for layout in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        assert table_hash(plain.set_column(0, "text", plain["text"].cast(layout))) == table_hash(plain)


def test_a_null_is_not_an_empty_text():
    assert table_hash(pa.table({"text": [None, ""]})) != table_hash(pa.table({"text": ["", None]}))


def test_a_written_table_is_read_back_as_it_was(tmp_path: Path):
    table = pa.table({"uid": ["a", "b"], "value": [1.5, None], "entries": [[1, 2], []]})
    write_table(tmp_path / "t.lance", table)
    assert table_hash(read_table(tmp_path / "t.lance")) == table_hash(table)
    assert read_table(tmp_path / "t.lance", ["value"], "uid = 'a'").to_pylist() == [{"value": 1.5}]


def test_writing_replaces_what_an_interrupted_run_left(tmp_path: Path):
    path = tmp_path / "t.lance"
    (path / "data").mkdir(parents=True)
    (path / "data" / "half.lance").write_bytes(b"half")
    write_table(path, pa.table({"uid": ["a"]}))
    assert read_table(path).num_rows == 1


def test_a_missing_table_is_named(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"absent\.lance"):
        read_table(tmp_path / "absent.lance")


def test_a_table_that_cannot_be_written_is_one_clear_error_and_is_not_there(tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "t.lance"
    with pytest.raises(StorageError, match=r"t\.lance` must be writable; .*Nothing was committed"):
        write_table(path, pa.table({"uid": ["a"]}))


def test_what_lance_says_of_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch):
    import lance

    def full(*_arguments, **_options):
        raise OSError("LanceError(IO): No space left on device (os error 28), writer.rs:254:9\nmore lines")

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(StorageError, match="No space left on device") as error:
        write_table(tmp_path / "t.lance", pa.table({"uid": ["a"]}))
    assert "\n" not in str(error.value)
