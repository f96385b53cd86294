"""Balancing: counts, thresholds, draws and verdicts are made again from the ledger and compared with what is stored."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.checks.findings import Finding
from evenly.audit.published import PublishedBuild
from evenly.curation.balance.inputs import REASONS, read_inputs
from evenly.storage.ledger import StepRecord
from evenly.storage.tables.hashing import table_hash


def check_draws(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each table of a balancing step, and for its verdicts, where they come out otherwise."""
    for number, record in enumerate(build.records):
        if record.name not in REASONS or record.seed is None:
            continue
        inputs = read_inputs(build.ledger, build.records[:number], record.name, record.rule, seed=record.seed)
        balanced = inputs.decide()
        tables = inputs.tables(balanced)
        if tables.keys() != record.hashes.keys() - {"decisions"}:
            yield Finding.of("draws", record.name, f"gives the tables {', '.join(sorted(tables))}; others are stored")
        for name in sorted(tables.keys() & record.hashes.keys()):
            yield from _check_table(record, name, tables[name], build.ledger.table(record, name))
        stored, decided = build.ledger.decisions(record), balanced.decisions.to_table(inputs.pairs.uids)
        for column in ("verdict", "reason", "value"):
            if wrong := _differing(decided[column], stored[column]):
                text = f"{wrong:,} of {stored.num_rows:,} pairs have another {column} when decided again"
                yield Finding.of("draws", record.name, text)


def _check_table(record: StepRecord, name: str, computed: pa.Table, stored: pa.Table) -> Iterator[Finding]:
    """Which columns of a table differ from those made again."""
    if table_hash(computed) == table_hash(stored):
        return
    same_columns = computed.schema.names == stored.schema.names and computed.num_rows == stored.num_rows
    columns = [
        column
        for column in computed.schema.names
        if same_columns and table_hash(computed.select([column])) != table_hash(stored.select([column]))
    ]
    text = f"differs in {', '.join(columns)}" if same_columns else "holds other rows or columns"
    yield Finding.of("draws", f"{record.name}/{name}", f"{text} when made again from seed and matches")


def _differing(computed: pa.ChunkedArray, stored: pa.ChunkedArray) -> int:
    if len(computed) != len(stored):
        return max(len(computed), len(stored))
    return int(pc.sum(pc.not_equal(computed, stored)).as_py() or 0)
