"""A search for duplicates over partitions: rows meet where their hashes send them, and leave edges.

A row is written once, in files of its partition, and travels as a number of 64 bits. Equal rows meet by a hash of what
is compared and become chains; the first of each chain goes on. Those meet in tables, by the bits of their codes, or in
cells of colours, near a border in several. What meets is read by number and compared there, and of all duplicates a
place gives the minimum spanning forest: the forest of all is that of these, whatever the cut.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Floats, Words
from evenly.curation.duplicates.colours import ColourCells
from evenly.curation.duplicates.lsh import in_batches, pairs_of_table, shared_keys, smallest_draws, table_keys
from evenly.curation.duplicates.merging import Forest, NumberedForest
from evenly.storage.tables.partitions import MAX_BITS
from evenly.storage.tables.row_files import row_numbers
from evenly.tasks.rebuild.duplicates.pair_search import ROWS_AT_ONCE, PairSearch, pairs_to_compare
from evenly.tasks.run import Each, Records, Run

ROWS_HELD = 1 << 20
"""Rows, with their codes, that are read together for several tables; those of a place more."""
_COLUMNS = {False: ["key", "row", "table"], True: ["key", "row", "table", "fresh"]}


@dataclass(frozen=True, kw_only=True, eq=False)
class FirstRows:
    """Of a partition: how many rows it has and how many are searched, and those with the smallest draws, and these."""

    n: int
    searched: int
    drawn: Words
    draws: Floats


def write_rows(search: PairSearch, upstream: Records, run: Run) -> int:
    """Write what is compared of the pairs of a partition, and send their hashes; how many pairs there are."""
    partition = run.part.number
    pairs = pairs_to_compare(run, upstream, search.kind.looks)
    features = None if search.features is None else search.features.rows(run, pairs, search.kind.rule)
    contents = search.kind.contents(pairs, features)
    search.files.write(partition, {**contents.columns, "usable": contents.usable})
    places = np.flatnonzero(contents.usable)
    rows = row_numbers(search.bits, partition, places)
    search.send("equal", partition, key=contents.keys[places], row=rows)
    return len(contents.usable)


def link_equal(search: PairSearch, run: Run) -> None:
    """Leave a chain of each run of equal rows, and tell their partitions which are not the first."""
    partition = run.part.number
    keys, rows = search.received("equal", partition, ["key", "row"])
    order = np.argsort(keys, kind="stable")  # rows of one key stay in their order: writers are read by number
    order = order[shared_keys(keys[order])]
    keys, rows = keys[order], rows[order]
    forest, later = NumberedForest(), list[Words]()
    for start in range(0, max(len(rows) - 1, 0), ROWS_AT_ONCE):
        part = np.sort(rows[start : start + ROWS_AT_ONCE + 1])  # the last is the first of the next: chains go on
        compared = search.kind.compared_for_equality(search.files, part)
        (left, right), _ = compared.equal_runs(np.ones(len(part), np.bool_))
        forest.add(part[left], part[right], compared.equal_weights(left, right))
        later.append(part[right])
    search.send_edges(f"equal-{partition:05d}", forest)
    search.send("later", partition, row=np.unique(np.concatenate([np.empty(0, np.uint64), *later])))


def write_firsts(search: PairSearch, counts: Sequence[int], run: Run) -> FirstRows:
    """Write which rows of a partition are searched, and their codes."""
    partition, kind, files = run.part.number, search.kind, search.files
    n = counts[partition]
    everything, is_first = row_numbers(search.bits, partition, np.arange(n)), search.is_first(partition, n)
    places = np.flatnonzero(is_first)
    columns = {"first": is_first}
    if kind.masks is not None:
        rows, features = everything[places], search.features
        by_features = None if features is None else features.codes
        codes = kind.codes(files, rows) if by_features is None else by_features(run, kind, files, rows)
        coded = places[kind.coded(files, rows)]
        columns |= {"codes": np.zeros((n, codes.shape[1]), np.uint64), "coded": np.zeros(n, np.bool_)}
        columns["codes"][places], columns["coded"][coded] = codes, True
    files.write(partition, columns)
    drawn, draws = np.empty(0, np.int64), np.empty(0)
    if kind.comparisons is not None:
        drawn, draws = smallest_draws(files.column("uid", everything[places]), seed=run.seed, step=kind.step)
    return FirstRows(n=n, searched=len(places), drawn=everything[places[drawn]], draws=draws)


def send_keys(search: PairSearch, counts: Sequence[int], tables: range, run: Run) -> None:
    """Send the rows of a partition to where those meet that agree with them in a table."""
    partition, masks = run.part.number, search.kind.masks
    if masks is None:
        return
    rows, _ = search.rows_where(partition, "coded", counts[partition])
    codes = search.files.numbers("codes", rows)
    fresh = {"fresh": search.files.numbers("fresh", rows)} if search.resumes else {}
    parts = (
        pa.table(
            {
                "key": table_keys(codes, masks[table]),
                "row": rows,
                "table": np.full(len(rows), table, np.uint16),
                **fresh,
            }
        )
        for table in tables
    )
    search.exchange.send("keys", partition, "key", parts)


def link_tables(search: PairSearch, tables: range, run: Run) -> int:
    """Leave the forest of duplicates that agree in one of the tables and none before; how many candidates there were.

    A row that is alone in its place is not looked at.
    """
    partition, forest, candidates = run.part.number, NumberedForest(), 0
    masks = search.kind.masks
    if masks is None:
        return 0
    for places in _in_groups(_places(search, tables, partition)):
        numbers = np.unique(np.concatenate([rows for _, rows, _ in places]))
        codes = search.files.numbers("codes", numbers)
        near = search.kind.near(search.files, numbers, codes)
        fresh = search.files.numbers("fresh", numbers) if search.resumes else None
        local = Forest(len(numbers))
        pairs = chain.from_iterable(
            pairs_of_table(np.searchsorted(numbers, rows), keys, codes, masks[: table + 1], near=near, fresh=fresh)
            for table, rows, keys in places
        )
        read, compared = np.zeros(len(numbers), np.bool_), None
        for left, right in in_batches(pairs, ROWS_AT_ONCE // 4):
            if compared is None or not (read[left].all() and read[right].all()):
                read[:] = False
                read[left] = read[right] = True
                compared, met = search.kind.compared(search.files, numbers[read]), np.flatnonzero(read)
                place_of = np.cumsum(read) - 1
            near_left, near_right, weight = compared.accepted(place_of[left], place_of[right])
            local.add(met[near_left], met[near_right], weight)
            near.skip_weaker(local)
        left, right, weight = local.strongest()
        forest.add(numbers[left], numbers[right], weight)
        candidates += near.candidates
    search.send_edges(f"table-{tables.start:03d}-{partition:05d}", forest)
    return candidates


class Meeting(NamedTuple):
    """Rows (m,) that share their keys (m,), which are sorted, with others in a table."""

    table: int
    rows: Words
    keys: Words


def _places(search: PairSearch, tables: range, partition: int) -> Iterator[Meeting]:
    """The places of a partition in some tables: each of at most ROWS_AT_ONCE rows, or of one key.

    Where a search resumes, those with a fresh row, which then come first of their key.
    """
    keys, rows, numbers, *fresh = search.received("keys", partition, _COLUMNS[search.resumes])
    for table in tables:
        meet = np.flatnonzero(numbers == table)
        meet = meet[np.lexsort((~fresh[0][meet], keys[meet])) if fresh else np.argsort(keys[meet])]
        meet = meet[shared_keys(keys[meet])]
        if fresh and len(meet):
            first = np.append(True, keys[meet[1:]] != keys[meet[:-1]])
            meet = meet[fresh[0][meet[first]][np.cumsum(first) - 1]]
        for part in _at_key_borders(keys[meet]):
            yield Meeting(table=table, rows=rows[meet[part]], keys=keys[meet[part]])


def _in_groups(places: Iterable[Meeting]) -> Iterator[list[Meeting]]:
    """Places whose rows are read together: as many as have ROWS_HELD rows, since a row is in many places."""
    group: list[Meeting] = []
    for place in places:
        group.append(place)
        if sum(len(part.rows) for part in group) >= ROWS_HELD:
            yield group
            group = []
    if group:
        yield group


def _at_key_borders(keys: Words) -> Iterator[slice]:
    """Slices of sorted keys, of at most ROWS_AT_ONCE, or of one key."""
    ends = np.append(np.flatnonzero(keys[1:] != keys[:-1]) + 1, len(keys))
    start = 0
    while start < len(keys):
        place = int(np.searchsorted(ends, start + ROWS_AT_ONCE, side="right"))
        stop = int(ends[place - 1] if place and ends[place - 1] > start else ends[place])
        yield slice(start, stop)
        start = stop


CELL_ROWS = 1 << 15
"""Rows of a cell, if all were alike in size; those near its border come on top."""
_TAUGHT = 1 << 13  # rows that cells are learnt from


@dataclass(frozen=True, kw_only=True)
class CellSearch:
    """A search, and the cells of colours in which rows meet."""

    search: PairSearch
    cells: ColourCells
    depth: int

    def send(self, counts: Sequence[int], run: Run) -> None:
        """Send the rows of a partition to the cells that they lie in or are near to."""
        partition, kind = run.part.number, self.search.kind
        numbers, _ = self.search.rows_where(partition, "first", counts[partition])
        rows, cells = self.cells.assign(kind.sketches(self.search.files, numbers), kind.cell_limit or 0)
        home = np.full(len(numbers), -1, np.int64)
        np.maximum.at(home, rows, cells)  # of its cells a row lies in the last
        keys = cells.astype(np.uint64) << np.uint64(64 - self.depth) if self.depth else np.zeros(len(cells), np.uint64)
        lies = home[rows] == cells
        self.search.send("cells", partition, bits=self.depth, key=keys, row=numbers[rows], lies=lies)

    def link(self, _run: Run, cell: int) -> None:
        """Leave the forest of duplicates of which one lies in a cell, and the other there or in a later one."""
        tables = self.search.exchange.received("cells", cell)
        if not tables:
            return
        table = pa.concat_tables(tables)
        rows, lies = table["row"].to_numpy(), table["lies"].to_numpy()  # they rise: writers are read by number
        forest = NumberedForest()
        self.search.kind.in_cell(self.search.files, rows, forest, lies)
        self.search.send_edges(f"cell-{cell:05d}", forest)


def link_cells(search: PairSearch, firsts: Sequence[FirstRows], engine: Each) -> None:
    """Leave the edges of all pairs of rows that are near in every colour."""
    limit = search.kind.cell_limit
    total = sum(first.searched for first in firsts)
    if limit is None or not total:
        return
    depth = min(max(-(-total // CELL_ROWS) - 1, 0).bit_length(), MAX_BITS)
    cell_search = CellSearch(search=search, cells=_learnt(search, firsts, depth, limit), depth=depth)
    name, counts = search.kind.step, [first.n for first in firsts]
    engine.partitions(f"{name}: colours", partial(cell_search.send, counts))
    for _ in engine.items(f"{name}: cells", cell_search.link, range(1 << depth)):
        pass


def _learnt(search: PairSearch, firsts: Sequence[FirstRows], depth: int, limit: float) -> ColourCells:
    """Cells learnt from the first rows of each partition: uids are hashes, so these are a draw."""
    share = -(-_TAUGHT // len(firsts))
    rows = [row_numbers(search.bits, part, np.arange(min(share, first.n))) for part, first in enumerate(firsts)]
    return ColourCells.learn(search.kind.sketches(search.files, np.concatenate(rows)), depth, limit)
