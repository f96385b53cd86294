"""Files of a Lance dataset, compared with the sums of their blocks that lie beside them."""

import base64
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.records import read_record
from evenly.storage.stores.byte_ranges import Ranges, open_ranges, opened_ranges
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.block_sums import BLOCK, first_wrong

SUMS = "_sums"
"""The folder of a dataset in which the sums of its files lie."""


class CheckedBlocks:
    """The sums of one file of a dataset."""

    def __init__(self, path: Path, name: str, remedy: str) -> None:
        self._file, self._remedy = path / name, remedy
        try:
            facts = read_record(path / SUMS / f"{name}.json")
        except NotFoundError:
            raise self._damaged("its checksums are gone") from None
        self.size, self.described_from = int(facts["bytes"]), int(facts["described_from"])
        self._sums = base64.b85decode(facts["xxh3_128"])
        self._object: Ranges | None = None

    def check_all(self) -> None:
        """Compare the whole file."""
        self.check([(0, self.size)])

    def check(self, spans: Iterable[tuple[int, int]]) -> None:
        """Compare the length of the file, and the blocks that hold the bytes of `spans`, each from start to end."""
        try:
            with self._opened() as ranges:
                if ranges.size != self.size:
                    raise self._damaged("its length is not the one that was written")
                for start, end in _joined(spans):
                    self._check(ranges, start, min(end, self.size))
        except FileNotFoundError:
            raise self._damaged("it is gone") from None

    @contextmanager
    def _opened(self) -> Iterator[Ranges]:
        """The file; of an object, what was fetched of it serves all that is compared."""
        if isinstance(self._file, ObjectPath):
            self._object = self._object or open_ranges(self._file)
            yield self._object
            return
        with opened_ranges(self._file) as ranges:
            yield ranges

    def _check(self, ranges: Ranges, start: int, end: int) -> None:
        for offset in range(start, end, BLOCK * 64):
            data = ranges.pread(min(BLOCK * 64, end - offset), offset)
            if (wrong := first_wrong(data, self._sums, offset // BLOCK)) is not None:
                raise self._damaged(f"the block at byte {wrong * BLOCK} has another checksum")

    def _damaged(self, trouble: str) -> DamagedError:
        return DamagedError(f"`{self._file}` must hold the bytes that were written to it; {trouble}. {self._remedy}")


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The blocks that hold the bytes of `spans`, as few stretches from start to end, in order."""
    blocks = sorted((start // BLOCK * BLOCK, -(-end // BLOCK) * BLOCK) for start, end in spans if end > start)
    while blocks:
        start, end = blocks.pop(0)
        while blocks and blocks[0][0] <= end:
            end = max(end, blocks.pop(0)[1])
        yield start, end
