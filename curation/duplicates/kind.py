"""A kind of duplicates: what is stored of each pair, what sends two of them to one place, how they are compared.

Duplicates are searched by kind over any number of partitions: what is stored of a pair is then read by its number.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.arrays import Flags, Floats, Ints, Words
from evenly.curation.duplicates.lsh import Signatures
from evenly.curation.duplicates.merging import Contents, NumberedForest, Pairs


class StoredRows(Protocol):
    """The stored columns of rows, by numbers that rise."""

    def numbers(self, name: str, rows: Words) -> np.ndarray:
        """A column of numbers, (m,) or (m, d)."""

    def column(self, name: str, rows: Words) -> pa.Array:
        """A column of other values (m,)."""


class ComparedRows(Protocol):
    """Rows in memory, compared two by two; places in them rise as uids do."""

    def equal_runs(self, usable: Flags) -> tuple[Pairs, Ints]:
        """Each row with the next one that is equal, and the rows that are no such next one."""

    def equal_weights(self, left: Ints, right: Ints) -> Floats:
        """How weak the links (m,) of equal rows are."""

    def measure(self, left: Ints, right: Ints) -> Floats:
        """The distances (m,) as they are stored."""

    def accepted(self, left: Ints, right: Ints) -> tuple[Ints, Ints, Floats]:
        """Those candidates of tables, where a kind has these, that are duplicates, and how weak their links are."""


@dataclass(frozen=True, kw_only=True)
class Kind(ABC):
    """A kind of duplicates by the rule of a step and, where it draws, the seed of the run.

    step: whose search it is. edge: the kind of its edges, as stored. reason: of pairs that are merged. looks: columns
    of a picture's looks that are read. masks (t, w): the tables in which rows whose codes agree under a mask are
    candidates, where codes differ in at most `max_distance` bits (None: in any number); None: no tables are searched.
    cell_limit: how far values of colour grids may differ where cells are searched, else None. comparisons: how many the
    measured recall may take; None: nothing is missed.
    """

    rule: Any
    seed: int
    step: ClassVar[str]
    edge: ClassVar[str]
    reason: ClassVar[str] = ""
    looks: ClassVar[tuple[str, ...]] = ()
    masks: ClassVar[Words | None] = None
    max_distance: ClassVar[int | None] = None
    cell_limit: ClassVar[float | None] = None
    comparisons: ClassVar[int | None] = None

    @abstractmethod
    def contents(self, pairs: pa.Table, features: npt.NDArray[np.float16] | None) -> Contents:
        """What is stored of pairs, which are in the order of uids, and of their features, where a kind compares any."""

    @abstractmethod
    def compared(self, stored: StoredRows, rows: Words) -> Any:  # noqa: ANN401 - ComparedRows, and what the kind adds
        """The rows of these numbers."""

    def compared_for_equality(self, stored: StoredRows, rows: Words) -> Any:  # noqa: ANN401 - ComparedRows
        """The rows of these numbers, as far as it takes to see which are equal."""
        return self.compared(stored, rows)

    def reasons(self, stored: StoredRows, merged: Words, survivors: Words) -> pa.Array:  # noqa: ARG002 - of kinds with several
        """Why pairs (m,) are merged into these survivors."""
        return pa.repeat(pa.scalar(self.reason), len(merged))

    def codes(self, stored: StoredRows, rows: Words) -> Words:
        """The codes (n, w) of rows."""
        raise NotImplementedError

    def near(self, stored: StoredRows, rows: Words, codes: Words) -> Signatures:  # noqa: ARG002 - of kinds with their own
        """What candidates among rows of these codes are near in."""
        return Signatures.within(codes, self.max_distance)

    def coded(self, stored: StoredRows, rows: Words) -> Ints:  # noqa: ARG002 - of kinds that leave rows out
        """The places of those of `rows` that are looked for in tables."""
        return np.arange(len(rows))

    def in_cell(self, stored: StoredRows, rows: Words, forest: NumberedForest, lies: Flags) -> None:
        """Add all duplicates among the rows of a cell, of which one `lies` in it, to a forest."""
        raise NotImplementedError

    def sketches(self, stored: StoredRows, rows: Words) -> np.ndarray:
        """The colour grids (n, 768) of rows."""
        raise NotImplementedError

    def notes(self, candidates: int) -> dict[str, Any]:  # noqa: ARG002 - of kinds with tables
        """How duplicates were looked for."""
        return {}

    def edges(self, table: pa.Table, compared: Any, left: Ints, right: Ints) -> pa.Table:  # noqa: ANN401, ARG002 - as `compared`
        """The edges of pairs of rows, as stored; `table` has them with the kind's one name."""
        return table
