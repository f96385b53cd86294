from hashlib import blake2b
from pathlib import Path

import pyarrow as pa
import pytest

from evenly.storage.errors import DamagedError, StorageError
from evenly.storage.tables.lance_commits import commit_fragments, commit_rows, write_fragments
from evenly.storage.tables.lance_rows import check_rows, has_rows, newest_version, read_rows


def test_what_lance_says_of_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch):
    import lance

    def full(*_arguments, **_options):
        raise OSError("LanceError(IO): No space left on device (os error 28), writer.rs:254:9\nmore lines")

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(StorageError, match="No space left on device") as error:
        commit_rows(tmp_path / "t.lance", pa.table({"uid": ["a"]}), mode="append")
    assert "\n" not in str(error.value)


ROWS = pa.table(
    {
        "uid": [blake2b(bytes([row % 256, row // 256])).hexdigest() for row in range(5_000)],
        "value": pa.array(range(5_000), pa.float64()),
    }
)


def flip(path: Path, share: float) -> None:
    data = path.read_bytes()
    at = int(share * len(data))
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_rows_are_read_by_columns_and_filter(tmp_path: Path):
    path = tmp_path / "t.lance"
    assert commit_rows(path, ROWS, mode="overwrite", index="uid") == newest_version(path)
    assert read_rows(path, "").equals(ROWS)
    assert read_rows(path, "", columns=["value"], where=f"uid = '{ROWS['uid'][7]}'")["value"].to_pylist() == [7.0]
    assert read_rows(path, "", columns=["uid"], where="value > 10").num_rows == 4_989
    assert read_rows(path, "", where="false").equals(ROWS.slice(0, 0))


def test_a_flipped_value_is_seen_by_those_alone_who_read_its_column(tmp_path: Path):
    path = tmp_path / "t.lance"
    commit_rows(path, ROWS, mode="overwrite")
    (file,) = (path / "data").iterdir()
    flip(file, 0.1)  # within the uids; the values lie in other blocks
    assert read_rows(path, "", columns=["value"]).num_rows == 5_000
    with pytest.raises(DamagedError, match=r"another checksum\. Make it again\."):
        read_rows(path, "Make it again.")


def killed_commit(path: Path, monkeypatch) -> None:
    """Add ROWS, and die between Lance's commit and the checksums."""

    def killed(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("evenly.storage.tables.lance_commits._seal", killed)
        with pytest.raises(KeyboardInterrupt):
            commit_rows(path, ROWS, mode="append")


def test_what_a_killed_writer_left_does_not_count_and_is_written_once(tmp_path: Path, monkeypatch):
    path = tmp_path / "t.lance"
    commit_rows(path, ROWS, mode="append")
    killed_commit(path, monkeypatch)
    assert read_rows(path, "").num_rows == 5_000
    commit_rows(path, ROWS, mode="append")
    assert read_rows(path, "").num_rows == 10_000


def test_a_first_write_that_was_killed_is_no_obstacle(tmp_path: Path, monkeypatch):
    path = tmp_path / "t.lance"
    killed_commit(path, monkeypatch)
    assert not has_rows(path)
    commit_rows(path, ROWS, mode="append")
    assert read_rows(path, "").equals(ROWS)


def failed_write(path: Path, monkeypatch) -> None:
    """Write the data file of ROWS, and fail ahead of Lance's commit."""
    import lance
    from lance.fragment import write_fragments

    def failing(table, uri, **_options):
        write_fragments(table, uri, mode="append" if (path / "_versions").exists() else "create")
        raise OSError("LanceError(IO): error sending request for url, object_store.rs:1:1")

    with monkeypatch.context() as patched:
        patched.setattr(lance, "write_dataset", failing)
        with pytest.raises(StorageError, match="error sending request"):
            commit_rows(path, ROWS, mode="append")


def data_files(path: Path) -> set[str]:
    return {file.name for file in (path / "data").iterdir()}


@pytest.mark.parametrize("is_new", [True, False])
def test_a_data_file_of_a_write_that_failed_goes_with_the_next_commit(tmp_path: Path, monkeypatch, is_new):
    path = tmp_path / "t.lance"
    if not is_new:
        commit_rows(path, ROWS, mode="append")
    before = data_files(path) if not is_new else set()
    failed_write(path, monkeypatch)
    (left,) = data_files(path) - before
    commit_rows(path, ROWS, mode="append")
    assert left not in data_files(path)
    assert len(data_files(path)) == len(before) + 1
    assert read_rows(path, "").num_rows == (5_000 if is_new else 10_000)
    check_rows(path, "")


def test_data_files_of_a_version_without_sums_and_of_rows_yet_to_be_committed_stay(tmp_path: Path, monkeypatch):
    path = tmp_path / "t.lance"
    commit_rows(path, ROWS, mode="append")
    killed_commit(path, monkeypatch)
    of_versions = data_files(path)
    fragments = write_fragments(path, ROWS.slice(1_000))
    commit_rows(path, ROWS, mode="append")
    assert of_versions < data_files(path)
    assert commit_fragments(path, ROWS.schema, fragments) == newest_version(path)
    assert read_rows(path, "").equals(ROWS.slice(1_000))


def test_rows_of_which_a_file_is_gone_are_not_committed(tmp_path: Path):
    path = tmp_path / "t.lance"
    commit_rows(path, ROWS, mode="append")
    before = data_files(path)
    fragments = write_fragments(path, ROWS)
    (written,) = data_files(path) - before
    (path / "data" / written).unlink()
    with pytest.raises(StorageError, match=f"`{path}/data/{written}` must be there to be committed"):
        commit_fragments(path, ROWS.schema, fragments)
    assert read_rows(path, "").equals(ROWS)
