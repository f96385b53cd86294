"""Rows of all partitions by number, for a while: columns in files of their own, of which single rows are read.

A row's number holds that of its partition in its leading bits and its place there in the others. Numbers rise as keys
do, and rows that are exchanged by their number go to their own partition.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

from evenly.storage.errors import DamagedError, StorageError
from evenly.storage.tables.arrow_files import first_line

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def row_numbers(bits: int, partition: int, places: Places) -> Numbers:
    """The numbers (n,) of the rows at `places` of one of 2**bits partitions."""
    first = np.uint64(partition << (64 - bits) if bits else 0)
    return places.astype(np.uint64) + first


def row_places(bits: int, rows: Numbers) -> Places:
    """The places (n,) of rows in their partitions."""
    return (rows & np.uint64((1 << (64 - bits)) - 1)).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class RowFiles:
    """Columns of the rows of 2**bits partitions, below a folder that is removed when they are used up."""

    folder: Path
    bits: int

    def write(self, partition: int, columns: Mapping[str, pa.Array | np.ndarray]) -> None:
        """Write columns of all rows of a partition: numbers (n,) or (n, d), or Arrow arrays, all of them of one length.

        A file has its name when it is whole. Raises StorageError where they cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, column in columns.items():
                path = self._path(partition, name, "npy" if isinstance(column, np.ndarray) else "arrow")
                part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
                with part.open("wb") as stream:
                    if isinstance(column, np.ndarray):
                        np.save(stream, column)
                    else:
                        batch = pa.record_batch([column], names=[name])
                        with ipc.new_file(stream, batch.schema) as writer:
                            writer.write_batch(batch)
                part.replace(path)
        except OSError as error:
            raise StorageError(
                f"`{self.folder}` must be writable; {first_line(error)}. Free space, or choose another --root."
            ) from error

    def numbers(self, name: str, rows: Numbers) -> np.ndarray:
        """A column of numbers (m,) or (m, d) of `rows`, which rise. Raises DamagedError where it cannot be read."""
        parts = []
        for partition, places in self._parts(rows):
            path = self._path(partition, name, "npy")
            with _readable(path):
                parts.append(np.asarray(np.load(path, mmap_mode="r" if len(places) else None)[places]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def column(self, name: str, rows: Numbers) -> pa.Array:
        """A column of anything else of `rows`, which rise. Raises DamagedError where it cannot be read."""
        parts = []
        for partition, places in self._parts(rows):
            path = self._path(partition, name, "arrow")
            with _readable(path), pa.memory_map(str(path)) as source:
                parts.append(ipc.open_file(source).get_batch(0).column(0).take(pa.array(places)))
        return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)

    def _parts(self, rows: Numbers) -> Iterator[tuple[int, Places]]:
        """The partitions of `rows`, which rise, and the places of those in each; of no rows, no places of the first."""
        numbers = (rows >> np.uint64(64 - self.bits)).astype(np.int64) if self.bits else np.zeros(len(rows), np.int64)
        places = row_places(self.bits, rows)
        starts = [*np.flatnonzero(np.diff(numbers, prepend=-1)).tolist(), len(rows)]
        for start, stop in pairwise(starts):
            yield int(numbers[start]), places[start:stop]
        if not len(rows):
            yield 0, places

    def _path(self, partition: int, name: str, kind: str) -> Path:
        return self.folder / f"{name}-{partition:05d}.{kind}"


class _readable:  # noqa: N801 - read as a word in `with`
    """Raises DamagedError, which names the file, for what goes wrong within."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError | ValueError | IndexError | pa.ArrowException):
            raise DamagedError(
                f"`{self._path}` must be readable; {first_line(error)}. Run the rebuild again: it is written anew."
            ) from error
