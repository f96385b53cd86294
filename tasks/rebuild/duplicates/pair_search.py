"""A search over partitions: what is compared, and where rows meet and edges are left."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Flags, Ints, Words
from evenly.curation.duplicates.merging import NumberedForest
from evenly.storage.tables.exchange import RowExchange
from evenly.storage.tables.row_files import HeldRows, RowFiles, row_numbers, row_places
from evenly.tasks.rebuild.duplicates.kinds import Kind

ROWS_AT_ONCE = 1 << 18
"""Rows of a place that are compared at a time; those of one key more."""


@dataclass(frozen=True, kw_only=True)
class PairSearch:
    """What is compared, and the exchange between partitions by which rows meet.

    resumes: whether duplicates of rows that are `fresh` are looked for alone, and edges between others are known.
    """

    kind: Kind
    exchange: RowExchange
    resumes: bool = False

    @property
    def bits(self) -> int:
        """There are 2**bits partitions."""
        return self.exchange.bits

    @property
    def files(self) -> RowFiles | HeldRows:
        """Columns of each row."""
        return self.exchange.files

    def send(self, name: str, writer: int | str, *, bits: int | None = None, **columns: np.ndarray) -> None:
        """Send rows to the partitions that their first column names; `bits`: between so many."""
        self.exchange.send(name, writer, next(iter(columns)), pa.table(columns), bits=bits)

    def received(self, name: str, partition: int, columns: Sequence[str]) -> list[np.ndarray]:
        """The columns that were sent to a partition, in the order of writers; empty ones of numbers for none."""
        tables = self.exchange.received(name, partition)
        if not tables:
            return [np.empty(0, np.uint64) for _ in columns]
        table = pa.concat_tables(tables)
        return [table[column_name].to_numpy() for column_name in columns]

    def send_edges(self, writer: str, forest: NumberedForest) -> None:
        """Leave the edges of a place."""
        left, right, weight = forest.edges()
        if len(left):
            self.send("edges", writer, bits=0, left=left, right=right, weight=weight)

    def forest(self) -> NumberedForest:
        """The forest of all edges that were left."""
        forest = NumberedForest()
        for table in self.exchange.each_received("edges", 0):
            forest.add(*(table[name].to_numpy() for name in ("left", "right", "weight")))
        return forest

    def is_first(self, partition: int, n: int) -> Flags:
        """Whether each of n rows of a partition is searched: it can have duplicates, and is the first of its equals."""
        is_first = self.files.numbers("usable", row_numbers(self.bits, partition, np.arange(n))).copy()
        is_first[row_places(self.bits, *self.received("later", partition, ["row"]))] = False
        return is_first

    def rows_where(self, partition: int, flags: str, n: int) -> tuple[Words, Ints]:
        """The rows of a partition of n whose flag is set, and their places."""
        places = np.flatnonzero(self.files.numbers(flags, row_numbers(self.bits, partition, np.arange(n))))
        return row_numbers(self.bits, partition, places), places


def compare_pairs(search: PairSearch, left: Words, right: Words) -> tuple[Any, Words, tuple[Ints, Ints]]:
    """Rows to compare, their numbers, and the places in these of `left` and `right`."""
    numbers, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    first, second = np.split(places.astype(np.int64), 2)
    return search.kind.compared(search.files, numbers), numbers, (first, second)


def in_parts(n: int) -> Iterator[slice]:
    """Slices of n pairs that are compared together."""
    yield from (slice(start, start + ROWS_AT_ONCE // 4) for start in range(0, n, ROWS_AT_ONCE // 4))
