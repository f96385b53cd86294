"""Commits to Lance datasets: the sample table, a version per build, and features, which only grow."""

from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from storage.errors import StorageError
from storage.tables import first_line


def commit_rows(path: Path, table: pa.Table, *, mode: Literal["create", "append", "overwrite"]) -> Any:  # noqa: ANN401 - Lance's
    """Write `table` to the Lance dataset at `path` in one commit; the dataset.

    Raises StorageError, with nothing committed, where it cannot be written: a full disk, a folder that is read-only.
    """
    import lance

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return lance.write_dataset(table, str(path), mode=mode)
    except (OSError, RuntimeError) as error:
        raise StorageError(
            f"table `{path}` must be writable; {first_line(error)}. Nothing was committed; free space, or choose "
            "another --root."
        ) from error
