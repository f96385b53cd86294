"""The sample table against what the steps say, a partition and a fragment at a time."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from evenly.audit.published import PublishedBuild
from evenly.storage.content import LEFT_OUT
from evenly.storage.samples import wide_table
from evenly.storage.tables.hashing import table_hash


@dataclass(frozen=True, kw_only=True)
class ComparedSamples:
    """The columns that the steps give, those that are stored, and of both the differing ones.

    added: columns that are added at publishing: where bytes lie. rows: those of the sample table.
    """

    of_steps: frozenset[str]
    stored: frozenset[str]
    added: frozenset[str]
    differing: frozenset[str]
    rows: int


def compare_samples(build: PublishedBuild) -> ComparedSamples:
    """Compare the sample table of a build with its ledger. Both are sorted by uid, so rows stand beside one another."""
    fragments = _Fragments(build.batches())
    differing, of_steps, rows = set[str](), frozenset[str](), 0
    with build.bar("samples", build.deciding[0].counts.get("kept")) as advance:
        for ledger in build.partitions():
            wide = wide_table(ledger, build.records)
            of_steps = frozenset(wide.column_names)
            stored = fragments.take(wide.num_rows)
            shared = [name for name in wide.column_names if name in stored.column_names and name not in differing]
            differing |= {name for name in shared if not _is_same(wide.select([name]), stored.select([name]))}
            rows += wide.num_rows
            advance(wide.num_rows)
    stored_rows = fragments.rows + fragments.count_rest()
    names = frozenset(build.sample_columns)
    return ComparedSamples(
        of_steps=of_steps,
        stored=names,
        added=frozenset(set(LEFT_OUT) - of_steps),
        differing=frozenset(differing) if rows == stored_rows else names & of_steps,
        rows=stored_rows,
    )


def _is_same(computed: pa.Table, stored: pa.Table) -> bool:
    return computed.equals(stored) or table_hash(computed) == table_hash(stored)


class _Fragments:
    """Tables that are read one after another, of which rows are taken from the front."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables, self._ahead = tables, deque[pa.Table]()
        self.rows = 0

    def take(self, n: int) -> pa.Table:
        """The next `n` rows, fewer at the end."""
        n_ahead = sum(table.num_rows for table in self._ahead)
        while (n_ahead < n or not self._ahead) and (table := next(self._tables, None)) is not None:
            self._ahead.append(table)
            n_ahead += table.num_rows
        if not self._ahead:
            return pa.table({})
        table = pa.concat_tables(self._ahead)
        self._ahead = deque([table.slice(n)])
        self.rows += min(n, table.num_rows)
        return table.slice(0, n)

    def count_rest(self) -> int:
        """The number of rows that were not taken."""
        return sum(table.num_rows for table in (*self._ahead, *self._tables))
