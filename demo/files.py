"""Files that are whole or absent, in a folder that one process at a time may make."""

import contextlib
import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.demo.errors import FolderError


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that the name never stands for a part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_table_file(path: Path, table: pa.Table) -> None:
    """Write `table` as Parquet, whole or not at all; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def remove_parts(folder: Path) -> None:
    """Remove what killed writers left in `folder` and the folders below."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def write_class_folder(folder: Path, contents: Mapping[str, bytes], noun: str) -> None:
    """Write files as `<class>/<file>` below `folder`; it may be killed and called again.

    Raises FolderError for a folder that holds other files than these `noun`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    stranger = next((name for path in files if (name := path.relative_to(folder).as_posix()) not in contents), None)
    if stranger is not None:
        raise FolderError(
            f"`folder` must be empty or hold {noun} alone; got `{stranger}` in `{folder}`. Choose another folder."
        )
    with lock_folder(folder):
        remove_parts(folder)
        for file, content in contents.items():
            (folder / file).parent.mkdir(exist_ok=True)
            write_bytes(folder / file, content)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, a line each."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@contextlib.contextmanager
def own_folder(folder: Path, stamp: str, noun: str) -> Iterator[None]:
    """Hold a folder that holds these `noun` alone, known by the file `stamp`; parts that killed writers left are gone.

    Raises FolderError for a folder with other things.
    """
    folder.mkdir(parents=True, exist_ok=True)
    strangers = {path.name for path in folder.iterdir()} - {".lock"}
    if strangers and not (folder / stamp).exists():
        raise FolderError(
            f"`folder` must be empty or hold {noun}; got {str(folder)!r} with {min(strangers)!r}. Name another."
        )
    with lock_folder(folder):
        write_bytes(folder / stamp, b"")
        remove_parts(folder)
        yield


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; another one waits. The lock goes with the process, however it ends."""
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
