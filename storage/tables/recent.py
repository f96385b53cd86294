"""The tables that a run has just written, for the steps after it to read without going to the disk."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

MAX_BYTES = 256 << 20


class RecentTables:
    """Tables by path, as many of the last as fit into `max_bytes`; a table that is larger alone is not held."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._tables = OrderedDict[Path, pa.Table]()

    def __reduce__(self) -> tuple[type["RecentTables"], tuple[int]]:
        """Another process gets none of the tables: it reads them from the disk."""
        return RecentTables, (self._max_bytes,)

    def add(self, path: Path, table: pa.Table) -> None:
        """Hold a table that was written at `path`."""
        if table.nbytes > self._max_bytes:
            return
        self._tables[path] = table
        while sum(cached.nbytes for cached in self._tables.values()) > self._max_bytes:
            self._tables.popitem(last=False)

    def get(self, path: Path, columns: Sequence[str] | None = None) -> pa.Table | None:
        """The table that was written at `path`, or some of its columns; None where it is not held."""
        table = self._tables.get(path)
        if table is None:
            return None
        self._tables.move_to_end(path)
        return table if columns is None else table.select(list(columns))
