"""Rows on their way to another cut: written to a file per writer and partition, read back by partition.

Of a run in one partition they stay in memory.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

from evenly.storage.errors import DamagedError, StorageError
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.arrow_files import first_line, writable
from evenly.storage.tables.block_sums import append_sums, open_checked
from evenly.storage.tables.partitions import first_words
from evenly.storage.tables.row_files import HeldRows, RowFiles

LOCK_FILE = "held.lock"
"""The file of a folder that is locked while the folder is in use."""
HELD_BYTES = 1 << 26
"""What a writer holds before it parts it: many rows that are narrow, fewer that are wide."""
TEMPORARY = "evenly-rows"
"""What the names of folders for temporary files begin with."""
_WORD = 32
_REMEDY = "Run it again: it is written anew."
_held: dict[Path, int] = {}
_Rows: TypeAlias = "pa.Table | Iterable[pa.Table]"


def exchange_folder(exchange: Path, name: str) -> Path:
    """A new folder below `exchange`, held by this process; those that a process left behind are removed.

    Raises StorageError where it cannot be made.
    """
    try:
        _remove_left(list(exchange.iterdir()) if exchange.exists() else ())
        return _new_folder(exchange, name)
    except OSError as error:
        raise _unusable(exchange, error, "choose another --root") from error


def temporary_folder(parent: Path, name: str) -> Path:
    """A new folder below `parent`, where others may have folders too, held by this process, and open to its user alone.

    Its name is drawn, so that nobody can have made it; those of this name that the user's processes left behind are
    removed. Raises StorageError where it cannot be made.
    """
    try:
        _remove_left(path for path in parent.glob(f"{name}-*") if is_own_folder(path))
        return _new_folder(parent, name)
    except OSError as error:
        raise _unusable(parent, error, "set TMPDIR to another folder") from error


def is_own_folder(path: Path) -> bool:
    """Whether a path is a folder of this user, and no link to one."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


@contextmanager
def open_exchange(exchange: Path, name: str) -> Iterator[Path]:
    """A new folder below `exchange`, where nothing can be written there one for temporary files; both go at the end.

    Raises StorageError where neither can be made.
    """
    temporary = Path(tempfile.gettempdir())
    try:
        is_stored = isinstance(exchange, ObjectPath)
        folder = temporary_folder(temporary, TEMPORARY) if is_stored else exchange_folder(exchange, name)
    except StorageError:  # a workspace that may only be read
        folder = temporary_folder(temporary, TEMPORARY)
    try:
        yield folder
    finally:
        remove_exchange(folder)
        if folder.parent == exchange:
            with suppress(OSError):  # others are at work there
                exchange.rmdir()


def _remove_left(folders: Iterable[Path]) -> None:
    """Remove those of the folders that no process holds."""
    for left in folders:
        with suppress(FileNotFoundError, NotADirectoryError):  # another process came first; it is none of ours
            if (lock := _hold(left)) is not None:
                # renamed, so that who made it just now makes another
                _remove(left.rename(left.with_name(f"{left.name}.{uuid.uuid4().hex}")), lock)


def _unusable(folder: Path, error: OSError, remedy: str) -> StorageError:
    return StorageError(
        f"`{folder}` must be writable, and files in it lockable; {first_line(error)}. Free space, or {remedy}."
    )


def _new_folder(exchange: Path, name: str) -> Path:
    """A folder that is held; made again where another process came between its making and the lock."""
    while True:
        exchange.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=exchange))
            lock = _hold(folder)
            if lock is not None and folder.exists():
                _held[folder] = lock
                return folder


def remove_exchange(folder: Path) -> None:
    """Remove what was exchanged."""
    _remove(folder, _held.pop(folder, None))


def _remove(folder: Path, lock: int | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)  # NFS keeps the file of an open lock, and so its folder


def _hold(folder: Path) -> int | None:
    """A lock on a folder, which ends with the process; None where another process has it.

    It is of a file in the folder that is open for writing: NFS locks no folder.
    """
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def send_rows(folder: Path, writer: str, bits: int, key: str, tables: Iterable[pa.Table]) -> list[pa.Schema]:
    """Write rows below `folder`, cut by the leading bits of `key`; the schemas of the tables, in order, each once.

    key: a column of hashes, in hex or as 64-bit numbers. writer: a name of its own for each of several writers at once.
    Rows keep their order. Nothing is durable: what is exchanged is written again after a failure; what is read is
    compared with checksums. Raises StorageError where it cannot be written.
    """
    schemas: list[pa.Schema] = []
    pending: list[pa.Table] = []
    number = 0
    for table in tables:
        if table.schema not in schemas:
            schemas.append(table.schema)
        if pending and (sum(part.nbytes for part in pending) >= HELD_BYTES or pending[-1].schema != table.schema):
            _write(folder, f"{writer}-{number:06d}", bits, key, pa.concat_tables(pending))
            pending, number = [], number + 1
        pending.append(table)
    if pending:
        _write(folder, f"{writer}-{number:06d}", bits, key, pa.concat_tables(pending))
    return schemas


def received_rows(folder: Path, number: int) -> list[pa.Table]:
    """The tables that were sent to a partition, those of a writer in the order that it sent them."""
    return list(each_received(folder, number))


def each_received(folder: Path, number: int) -> Iterator[pa.Table]:
    """The tables of `received_rows`, one after the other."""
    for path in sorted((folder / f"{number:05d}").glob("*.arrow")):
        try:
            with open_checked(path, _REMEDY, required=True) as source:
                table = ipc.open_file(source).read_all()
        except (OSError, pa.ArrowException) as error:
            raise DamagedError(f"`{path}` must be readable; {first_line(error)}. {_REMEDY}") from error
        yield table


class RowExchange(ABC):
    """Rows that are sent to 2**bits partitions of another key, under the names of what is sent; `files`: by number.

    Used in a `with`, or released at the end: then nothing is left of them.
    """

    bits: int

    @property
    @abstractmethod
    def files(self) -> RowFiles | HeldRows:
        """Columns of each row."""

    @abstractmethod
    def send(self, name: str, writer: int | str, key: str, rows: _Rows, *, bits: int | None = None) -> list[pa.Schema]:
        """Send rows, each to the partition of its `key`, as `send_rows` does; `bits`: between so many partitions."""

    @abstractmethod
    def each_received(self, name: str, part: int) -> Iterator[pa.Table]:
        """The rows that were sent to a partition by this name, writers in order, those of each in their order."""

    @abstractmethod
    def forget(self, name: str) -> None:
        """Remove what was sent by this name."""

    @abstractmethod
    def release(self) -> None:
        """Remove what was exchanged."""

    def received(self, name: str, part: int) -> list[pa.Table]:
        """The tables of `each_received`."""
        return list(self.each_received(name, part))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def new_exchange(exchange: Path, name: str, bits: int) -> RowExchange:
    """An exchange between 2**bits partitions: in a new folder below `exchange`, or in memory where there is one.

    Raises StorageError where the folder cannot be made.
    """
    return PartitionExchange(folder=exchange_folder(exchange, name), bits=bits) if bits else HeldExchange()


@dataclass(frozen=True, kw_only=True)
class PartitionExchange(RowExchange):
    """Rows below a folder."""

    folder: Path
    bits: int

    @property
    def files(self) -> RowFiles:
        """See RowExchange."""
        return RowFiles(folder=self.folder / "rows", bits=self.bits)

    def send(self, name: str, writer: int | str, key: str, rows: _Rows, *, bits: int | None = None) -> list[pa.Schema]:
        """See RowExchange."""
        tables = [rows] if isinstance(rows, pa.Table) else rows
        return send_rows(self.folder / name, f"{writer:>05}", self.bits if bits is None else bits, key, tables)

    def each_received(self, name: str, part: int) -> Iterator[pa.Table]:
        """See RowExchange."""
        return each_received(self.folder / name, part)

    def forget(self, name: str) -> None:
        """See RowExchange."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def release(self) -> None:
        """See RowExchange."""
        remove_exchange(self.folder)


@dataclass(frozen=True)
class HeldExchange(RowExchange):
    """Rows of one partition, in memory."""

    bits = 0
    _rows: HeldRows = field(default_factory=HeldRows)
    _sent: dict[str, list[tuple[str, int, pa.Table]]] = field(default_factory=dict)

    @property
    def files(self) -> HeldRows:
        """See RowExchange."""
        return self._rows

    def send(self, name: str, writer: int | str, key: str, rows: _Rows, *, bits: int | None = None) -> list[pa.Schema]:
        """See RowExchange."""
        schemas: list[pa.Schema] = []
        for table in [rows] if isinstance(rows, pa.Table) else rows:
            if table.schema not in schemas:
                schemas.append(table.schema)
            parts = _parted(table, key, bits) if bits else [(0, table)]
            self._sent.setdefault(name, []).extend(
                (f"{writer:>05}", part, rows_of_part) for part, rows_of_part in parts
            )
        return schemas

    def each_received(self, name: str, part: int) -> Iterator[pa.Table]:
        """See RowExchange."""
        sent = [row for row in self._sent.get(name, ()) if row[1] == part and row[2].num_rows]
        return (table for _, _, table in sorted(sent, key=itemgetter(0)))

    def forget(self, name: str) -> None:
        """See RowExchange."""
        self._sent.pop(name, None)

    def release(self) -> None:
        """See RowExchange."""
        self._sent.clear()
        self._rows.clear()


def _parted(table: pa.Table, key: str, bits: int) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each partition that has any, in their order."""
    numbers = _partition_numbers(table, key, bits)
    order = np.argsort(numbers, kind="stable")  # of 16 bits: by counting, not by comparing
    bounds: Sequence[int] = np.searchsorted(numbers[order], np.arange((1 << bits) + 1)).tolist()
    ordered = table.take(pa.array(order))
    for number, (start, stop) in enumerate(pairwise(bounds)):
        if start < stop:
            yield number, ordered.slice(start, stop - start)


def _partition_numbers(table: pa.Table, key: str, bits: int) -> npt.NDArray[np.uint16]:
    """The number (n,) of the partition that each row goes to."""
    if not bits:
        return np.zeros(table.num_rows, np.uint16)
    if pa.types.is_uint64(table.schema.field(key).type):
        words: npt.NDArray[np.uint64] = table[key].to_numpy()
        return (words >> np.uint64(64 - bits)).astype(np.uint16)
    return (first_words(table, key) >> np.uint32(_WORD - bits)).astype(np.uint16)


def _write(folder: Path, name: str, bits: int, key: str, table: pa.Table) -> None:
    options = ipc.IpcWriteOptions(compression="lz4")
    with writable(folder):
        for number, rows in _parted(table, key, bits):
            path = folder / f"{number:05d}" / f"{name}.arrow"
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
            with part.open("w+b") as stream:
                with ipc.new_file(stream, table.schema, options=options) as writer:
                    writer.write_table(rows)
                append_sums(stream)
            part.replace(path)
