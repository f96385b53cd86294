"""A search for duplicates of a kind over partitions: where rows meet, edges are left, and previous ones taken over.

A previous edge stands where neither of its pairs has changed or is now one of several equal ones but the first. What
stands of a cluster falls into pieces. A duplicate within a piece is weaker than the edges that join its two pairs
there, as before. So only those between pieces, and those of changed pairs, are looked for: all pieces of a cluster but
the largest are fresh, as are changed pairs, and duplicates are looked for of fresh rows alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Ints, Words
from evenly.curation.duplicates.kind import Kind
from evenly.curation.duplicates.merging import NumberedForest, components, uid_places
from evenly.storage.ledger import Ledger
from evenly.storage.tables.exchange import RowExchange
from evenly.storage.tables.row_files import HeldRows, RowFiles, row_numbers, row_places
from evenly.tasks.row_reuse import EarlierRun, same_rows
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Exchanged

TEXT_COLUMNS = ("url", "caption")
COLUMNS = (*TEXT_COLUMNS, "image_id", "width", "height")
"""What every search reads of a pair; looks are read where they are compared."""
Rows = RowFiles | HeldRows


def pairs_to_compare(run: Run, upstream: Records, looks: Sequence[str] = ()) -> pa.Table:
    """The pairs and what is known of their pictures: nulls where a rebuild has none."""
    if any("image_id" in record.columns for record in upstream):
        return run.ledger.alive(upstream, (*COLUMNS, *looks))
    pairs = run.ledger.alive(upstream, TEXT_COLUMNS)
    for name, kind in (("image_id", pa.string()), ("width", pa.int32()), ("height", pa.int32())):
        pairs = pairs.append_column(name, pa.nulls(pairs.num_rows, kind))
    return pairs


@dataclass(frozen=True, kw_only=True)
class ComparedFeatures:
    """The features that a kind compares: of pairs, the rows (n, d) of a rule.

    prepare: makes what all partitions need, before they are read. codes: those of rows by number, where they are kept.
    """

    rows: Callable[[Run, pa.Table, Any], npt.NDArray[np.float16]]
    prepare: Callable[[Run, Records], None] | None = None
    codes: Callable[[Run, Any, Rows, Words], Words] | None = None


ROWS_AT_ONCE = 1 << 18
"""Rows of a place that are compared at a time; those of one key more."""


@dataclass(frozen=True, kw_only=True)
class PairSearch(Exchanged):
    """The kind that is searched, its features, and the exchange between partitions by which rows meet.

    resumes: whether duplicates of rows that are `fresh` are looked for alone, and edges between others are known.
    """

    kind: Kind
    exchange: RowExchange
    features: ComparedFeatures | None = None
    resumes: bool = False

    @property
    def bits(self) -> int:
        """There are 2**bits partitions."""
        return self.exchange.bits

    @property
    def files(self) -> RowFiles | HeldRows:
        """Columns of each row."""
        return self.exchange.files

    def prepare(self, run: Run, upstream: Records) -> None:
        """Make what all partitions need, before they are read."""
        if self.features is not None and self.features.prepare is not None:
            self.features.prepare(run, upstream)

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


@dataclass(frozen=True, kw_only=True)
class PreviousEdges:
    """The edges of a previous run by the same rule; a pair is unchanged where its columns `reads` are."""

    run: EarlierRun
    reads: Sequence[str]

    def send(self, search: PairSearch, upstream: Records, run: Run) -> int:
        """Write which pairs of a partition are unchanged, and send edges to where they end; how many pairs changed."""
        partition, ledger = run.part.number, run.ledger
        pairs = ledger.alive(upstream, self.reads)
        is_same = same_rows(pairs, ledger.alive(self.run.upstream, self.reads), self.reads)
        unchanged = is_same.to_numpy(zero_copy_only=False)
        stays, uids = unchanged & search.is_first(partition, len(unchanged)), pairs["uid"].combine_chunks()
        columns = {"unchanged": unchanged, "stays": stays, "cluster": self._clusters(ledger, uids)}
        search.files.write(partition, columns)
        edges = ledger.table(self.run.record, "edges", ["uid_a", "uid_b"])
        places = uid_places(edges["uid_a"], uids)
        left = row_numbers(search.bits, partition, np.maximum(places, 0))
        ends = {"uid": edges["uid_b"], "left": left, "stays": _at(places, stays)}
        search.exchange.send("ends", partition, "uid", pa.table(ends))
        return int((~unchanged).sum())

    def compared(self, ledger: Ledger) -> pa.Table | None:
        """The rows that were drawn for recall and their duplicates; None of a search that misses nothing."""
        return ledger.table(self.run.record, "compared") if "compared" in self.run.record.hashes else None

    def _clusters(self, ledger: Ledger, uids: pa.Array) -> pa.Array:
        """What names the previous cluster of each pair: the uid of that which it was merged into, or its own."""
        merged = ledger.decisions(self.run.record, ["uid", "into"], pc.field("verdict") == "merged")
        places = uid_places(pa.chunked_array([uids]), merged["uid"].combine_chunks())
        return pc.coalesce(merged["into"].combine_chunks().take(pa.array(places, mask=places < 0)), uids)


def take_over(
    search: PairSearch, previous: PreviousEdges, upstream: Records, counts: Sequence[int], engine: Each
) -> list[int]:
    """Leave the edges that stand, and write which rows are fresh; how many pairs of each partition changed."""
    name = search.kind.step
    changes = engine.partitions(f"{name}: changes", partial(previous.send, search, upstream))
    engine.partitions(f"{name}: previous edges", partial(_part_edges, search, counts))
    left, right = search.received("standing", 0, ["left", "right"])
    touched = np.unique(search.received("touched", 0, ["row"])[0])
    search.send("lost", "all", row=touched)
    search.send("fresh", "all", row=_fresh_pieces(search, left, right, touched))
    search.send("stood", "all", left=left, right=right)
    engine.partitions(f"{name}: standing edges", partial(_leave_edges, search, counts))
    return changes


def _part_edges(search: PairSearch, counts: Sequence[int], run: Run) -> None:
    """Part the edges that end in a partition: those that stand, and the rows of others, which are touched."""
    partition = run.part.number
    tables = search.exchange.received("ends", partition)
    if not tables:
        return
    ends, part_rows = pa.concat_tables(tables), row_numbers(search.bits, partition, np.arange(counts[partition]))
    places = uid_places(ends["uid"], search.files.column("uid", part_rows))
    left, right = ends["left"].to_numpy(), row_numbers(search.bits, partition, np.maximum(places, 0))
    left_stays, right_stays = ends["stays"].to_numpy(), _at(places, search.files.numbers("stays", part_rows))
    stands = left_stays & right_stays
    touched = np.concatenate([left[left_stays & ~stands], right[right_stays & ~stands]])
    search.send("standing", partition, bits=0, left=left[stands], right=right[stands])
    search.send("touched", partition, bits=0, row=touched)


def _fresh_pieces(search: PairSearch, left: Words, right: Words, touched: Words) -> Words:
    """The rows of all pieces of clusters that are no longer whole, but for the largest piece of each."""
    rows = np.unique(np.concatenate([left, right, touched]))
    piece = components(len(rows), np.searchsorted(rows, left), np.searchsorted(rows, right))
    size = np.bincount(piece, minlength=1)
    pieces = piece[np.searchsorted(rows, touched)]
    cluster = search.files.column("cluster", touched).dictionary_encode().indices.to_numpy()
    order = np.lexsort((pieces, -size[pieces], cluster))
    is_fresh = np.zeros(len(size), np.bool_)
    is_fresh[pieces] = True
    is_fresh[pieces[order[np.diff(cluster[order], prepend=-1) > 0]]] = False
    return rows[is_fresh[piece]]


def _leave_edges(search: PairSearch, counts: Sequence[int], run: Run) -> None:
    """Leave the edges that stand, measured again, and write which rows of a partition are fresh.

    And which are `anew`: these may not have been compared before with those that were drawn for recall.
    """
    partition, forest = run.part.number, NumberedForest()
    rows = row_numbers(search.bits, partition, np.arange(counts[partition]))
    columns = {"fresh": ~search.files.numbers("unchanged", rows), "anew": ~search.files.numbers("unchanged", rows)}
    for name, sent in (("fresh", "fresh"), ("anew", "lost")):
        columns[name][row_places(search.bits, search.received(sent, partition, ["row"])[0])] = True
    search.files.write(partition, columns)
    left, right = search.received("stood", partition, ["left", "right"])
    for part in in_parts(len(left)):
        compared, rows, sides = compare_pairs(search, left[part], right[part])
        near_left, near_right, weight = compared.accepted(*sides)
        forest.add(rows[near_left], rows[near_right], weight)
    search.send_edges(f"standing-{partition:05d}", forest)


def _at(places: Ints, flags: Flags) -> Flags:
    """Whether there is a row at each of `places`, and its flag is set."""
    is_set: Flags = places >= 0
    is_set[is_set] = flags[places[is_set]]
    return is_set
