from pathlib import Path

import pyarrow as pa
import pytest

from storage.errors import StorageError
from storage.lance_rows import commit_rows


def test_what_lance_says_of_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch):
    import lance

    def full(*_arguments, **_options):
        raise OSError("LanceError(IO): No space left on device (os error 28), writer.rs:254:9\nmore lines")

    monkeypatch.setattr(lance, "write_dataset", full)
    with pytest.raises(StorageError, match="No space left on device") as error:
        commit_rows(tmp_path / "t.lance", pa.table({"uid": ["a"]}), mode="append")
    assert "\n" not in str(error.value)
