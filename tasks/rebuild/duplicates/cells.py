"""The exact search for near colours over partitions: grids meet in cells, and near a border in several."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from evenly.curation.duplicates.colours import ColourCells
from evenly.curation.duplicates.merging import NumberedForest
from evenly.storage.tables.partitions import MAX_BITS
from evenly.storage.tables.row_files import row_numbers
from evenly.tasks.rebuild.duplicates.pair_search import PairSearch
from evenly.tasks.rebuild.duplicates.search import FirstRows
from evenly.tasks.run import Each, Run

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


def link_cells(search: PairSearch, firsts: Sequence[FirstRows], each: Each) -> None:
    """Leave the edges of all pairs of rows that are near in every colour."""
    limit = search.kind.cell_limit
    total = sum(first.searched for first in firsts)
    if limit is None or not total:
        return
    depth = min(max(-(-total // CELL_ROWS) - 1, 0).bit_length(), MAX_BITS)
    cell_search = CellSearch(search=search, cells=_learnt(search, firsts, depth, limit), depth=depth)
    name, counts = search.kind.step, [first.n for first in firsts]
    each.partitions(f"{name}: colours", partial(cell_search.send, counts))
    for _ in each.items(f"{name}: cells", cell_search.link, range(1 << depth)):
        pass


def _learnt(search: PairSearch, firsts: Sequence[FirstRows], depth: int, limit: float) -> ColourCells:
    """Cells learnt from the first rows of each partition: uids are hashes, so these are a draw."""
    share = -(-_TAUGHT // len(firsts))
    rows = [row_numbers(search.bits, part, np.arange(min(share, first.n))) for part, first in enumerate(firsts)]
    return ColourCells.learn(search.kind.sketches(search.files, np.concatenate(rows)), depth, limit)
