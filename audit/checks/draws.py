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
    for at, record in enumerate(build.records):
        if record.name not in REASONS or record.seed is None:
            continue
        inputs = read_inputs(build.ledger, build.records[:at], record.name, record.rule, seed=record.seed)
        found = inputs.decide()
        made = inputs.tables(found)
        if made.keys() != record.hashes.keys() - {"decisions"}:
            yield Finding.of("draws", record.name, f"gives the tables {', '.join(sorted(made))}; others are stored")
        for name in sorted(made.keys() & record.hashes.keys()):
            yield from _check_table(record, name, made[name], build.ledger.table(record, name))
        stored, decided = build.ledger.decisions(record), found.decisions.to_table(inputs.pairs.uids)
        for column in ("verdict", "reason", "value"):
            if wrong := _differing(decided[column], stored[column]):
                what = f"{wrong:,} of {stored.num_rows:,} pairs have another {column} when decided again"
                yield Finding.of("draws", record.name, what)


def _check_table(record: StepRecord, name: str, made: pa.Table, stored: pa.Table) -> Iterator[Finding]:
    """Which columns of a table differ from those made again."""
    if table_hash(made) == table_hash(stored):
        return
    same = made.schema.names == stored.schema.names and made.num_rows == stored.num_rows
    columns = [
        one for one in made.schema.names if same and table_hash(made.select([one])) != table_hash(stored.select([one]))
    ]
    what = f"differs in {', '.join(columns)}" if same else "holds other rows or columns"
    yield Finding.of("draws", f"{record.name}/{name}", f"{what} when made again from seed and matches")


def _differing(made: pa.ChunkedArray, stored: pa.ChunkedArray) -> int:
    if len(made) != len(stored):
        return max(len(made), len(stored))
    return int(pc.sum(pc.not_equal(made, stored)).as_py() or 0)
