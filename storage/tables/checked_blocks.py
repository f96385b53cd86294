"""Files of a Lance dataset, compared with the sums of their blocks that lie beside them."""

import base64
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.records import read_record
from evenly.storage.stores.byte_ranges import Ranges, open_ranges
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.tables.block_sums import BLOCK, first_wrong

SUMS = "_sums"
"""The folder of a dataset in which the sums of its files lie."""
_LETTERS = 20  # of base 85, for the 16 bytes of a sum


class CheckedBlocks:
    """The sums of one file of a dataset, and which of its blocks have been compared with them."""

    def __init__(self, path: Path, name: str, remedy: str) -> None:
        self._file, self._remedy = path / name, remedy
        try:
            facts = read_record(path / SUMS / f"{name}.json")
        except NotFoundError:
            raise self._damaged("its checksums are gone") from None
        self.size, self.described_from = int(facts["bytes"]), int(facts["described_from"])
        self.keys: dict[str, Any] = facts.get("keys") or {}
        self._sums = str(facts["xxh3_128"])
        self._right = set[int]()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CheckedBlocks) and (self._file, self._sums) == (other._file, other._sums)

    def __hash__(self) -> int:
        return hash((self._file, self._sums))

    @property
    def is_right(self) -> bool:
        """Whether the whole file has been compared."""
        return len(self._right) == -(-self.size // BLOCK)

    def check_all(self) -> None:
        """Compare the whole file."""
        with self.opened() as ranges:
            self.check([(0, self.size)], ranges)

    @contextmanager
    def opened(self) -> Iterator[Ranges]:
        """The file, for `check` to read from. Raises DamagedError where it is gone or has another length."""
        try:
            with closing(open_ranges(self._file)) as ranges:
                if ranges.size != self.size:
                    raise self._damaged("its length is not the one that was written")
                self._note(ranges)
                yield ranges
        except FileNotFoundError:
            raise self._damaged("it is gone") from None

    def check(self, spans: Iterable[tuple[int, int]], ranges: Ranges) -> None:
        """Compare the blocks that hold the bytes of `spans`, each from start to end, unless they have been."""
        for start, end in _joined(spans):
            self._check(ranges, start, min(end, self.size))

    def _note(self, ranges: Ranges) -> None:
        """Compare what of an object has come with its length: it need not be asked for again."""
        held_from = -(-ranges.held_from // BLOCK) * BLOCK
        for offset in range(held_from, self.size, BLOCK):
            data = ranges.pread(min(BLOCK, self.size - offset), offset)
            if self._first_wrong(data, offset // BLOCK) is None:
                self._right.add(offset // BLOCK)

    def _check(self, ranges: Ranges, start: int, end: int) -> None:
        for offset in range(start, end, BLOCK * 64):
            length = min(BLOCK * 64, end - offset)
            blocks = range(offset // BLOCK, -(-(offset + length) // BLOCK))
            if self._right.issuperset(blocks):
                continue
            data = ranges.pread(length, offset)
            if (wrong := self._first_wrong(data, offset // BLOCK)) is not None:
                raise self._damaged(f"the block at byte {wrong * BLOCK} has another checksum")
            self._right.update(blocks)

    def _first_wrong(self, data: bytes, first: int) -> int | None:
        """As `first_wrong`; of the sums only those of `data` are decoded, which begins with the block `first`."""
        stop = first + -(-len(data) // BLOCK)
        sums = base64.b85decode(self._sums[first * _LETTERS : stop * _LETTERS])
        wrong = first_wrong(data, sums, 0)
        return None if wrong is None else first + wrong

    def _damaged(self, trouble: str) -> DamagedError:
        return DamagedError(f"`{self._file}` must hold the bytes that were written to it; {trouble}. {self._remedy}")


def checked_blocks(path: Path, name: str, remedy: str) -> CheckedBlocks:
    """The sums of a file that is to be read; of an object the same each time, since data files never change.

    So a process asks a store once for what it compares. What checks a whole dataset makes its own.
    """
    return _of_object(path, name, remedy) if isinstance(path, ObjectPath) else CheckedBlocks(path, name, remedy)


@lru_cache(maxsize=1 << 9)
def _of_object(path: ObjectPath, name: str, remedy: str) -> CheckedBlocks:
    return CheckedBlocks(path, name, remedy)


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The blocks that hold the bytes of `spans`, as few stretches from start to end, in order."""
    blocks = sorted((start // BLOCK * BLOCK, -(-end // BLOCK) * BLOCK) for start, end in spans if end > start)
    while blocks:
        start, end = blocks.pop(0)
        while blocks and blocks[0][0] <= end:
            end = max(end, blocks.pop(0)[1])
        yield start, end
