"""Balancing: counts, thresholds, draws and verdicts are made again from the ledger and compared with what is stored."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.checks.findings import Finding
from evenly.audit.published import PublishedBuild
from evenly.curation.balance.inputs import REASONS, BalanceFacts, matched_entries, pick_of_all, stored_rule, sum_tables
from evenly.curation.balance.parts import Balancing, PicksByUrl
from evenly.curation.balance.sums import BalanceSums
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.tables.exchange import PartitionExchange, open_exchange
from evenly.storage.tables.hashing import table_hash

_COLUMNS = ("verdict", "reason", "value")


@dataclass(frozen=True, kw_only=True)
class _Again:
    """What came of balancing a partition again.

    tables: the names of the tables made of its pairs. differing: of those that are stored and differ, the columns,
    none where rows or columns are others. wrong: of `pairs` those (3,) with another verdict, reason or value. sums: a
    table SUMS.
    """

    tables: Sequence[str]
    differing: dict[str, list[str]]
    pairs: int
    wrong: list[int]
    sums: pa.Table


@contextmanager
def open_balancing(build: PublishedBuild, record: StepRecord) -> Iterator[Balancing]:
    """A balancing step of a build, to be made again; texts are picked partition by partition."""
    names = [step.name for step in build.records]
    upstream, seed = build.records[: names.index(record.name)], int(record.seed or 0)
    rule, bits = stored_rule(record.rule), build.deciding[0].bits
    balancing = partial(Balancing, step=record.name, upstream=upstream, rule=rule, seed=seed)
    if rule.texts == "each" or not bits:
        yield balancing(picks=pick_of_all(build.ledger, upstream, rule, seed=seed))
        return
    with open_exchange(build.workspace.exchange, "picks") as folder:
        exchange = PartitionExchange(folder=folder, bits=bits)
        yield balancing(picks=PicksByUrl.of(exchange, build.each, upstream, seed=seed))


def check_draws(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each table of a balancing step, and for its verdicts, where they come out otherwise."""
    for record in build.records:
        if record.name in REASONS and record.seed is not None:
            with open_balancing(build, record) as balancing:
                yield from _check_balancing(build, record, balancing)


def _check_balancing(build: PublishedBuild, record: StepRecord, balancing: Balancing) -> Iterator[Finding]:
    facts = balancing.facts(build.each, build.ledger)
    parts = build.each(f"balancing again: {record.name}", partial(_balanced_again, balancing, facts, record))
    concepts = matched_entries(build.ledger, balancing.upstream)
    sums = BalanceSums.summed([part.sums for part in parts], facts.languages, len(concepts))
    whole = sum_tables(balancing.rule, facts, concepts, sums)
    names = {*whole, *(name for part in parts for name in part.tables)}
    if names != record.hashes.keys() - {"decisions"}:
        yield Finding.of("draws", record.name, f"gives the tables {', '.join(sorted(names))}; others are stored")
    for name in sorted(names & record.hashes.keys()):
        if name in whole:
            differing = _differing(whole[name], build.ledger.table(record, name))
        else:
            differing = _together([part.differing[name] for part in parts if name in part.differing])
        if differing is not None:
            text = f"differs in {', '.join(differing)}" if differing else "holds other rows or columns"
            yield Finding.of("draws", f"{record.name}/{name}", f"{text} when made again from seed and matches")
    pairs = sum(part.pairs for part in parts)
    for column, counts in zip(_COLUMNS, zip(*(part.wrong for part in parts), strict=True), strict=True):
        if wrong := sum(counts):
            text = f"{wrong:,} of {pairs:,} pairs have another {column} when decided again"
            yield Finding.of("draws", record.name, text)


def _balanced_again(balancing: Balancing, facts: BalanceFacts, record: StepRecord, ledger: Ledger) -> _Again:
    inputs = balancing.inputs(facts, ledger)
    balanced = inputs.decide()
    tables = inputs.pair_tables(balanced)
    stored, decided = ledger.decisions(record), balanced.decisions.to_table(inputs.pairs.uids)
    differing = {
        name: columns
        for name, table in tables.items()
        if name in record.hashes and (columns := _differing(table, ledger.table(record, name))) is not None
    }
    return _Again(
        tables=list(tables),
        differing=differing,
        pairs=stored.num_rows,
        wrong=[_count_differing(decided[column], stored[column]) for column in _COLUMNS],
        sums=inputs.sums(balanced).to_table(facts.languages),
    )


def _differing(computed: pa.Table, stored: pa.Table) -> list[str] | None:
    """The columns of a table that differ from those made again, [] where rows or columns are others; None for none."""
    if table_hash(computed) == table_hash(stored):
        return None
    if computed.schema.names != stored.schema.names or computed.num_rows != stored.num_rows:
        return []
    return [
        column
        for column in computed.schema.names
        if table_hash(computed.select([column])) != table_hash(stored.select([column]))
    ]


def _together(parts: Sequence[list[str]]) -> list[str] | None:
    """What differs in any of the partitions, in their order; None for none."""
    if not parts or not all(parts):
        return [] if parts else None
    return list(dict.fromkeys(column for part in parts for column in part))


def _count_differing(computed: pa.ChunkedArray, stored: pa.ChunkedArray) -> int:
    if len(computed) != len(stored):
        return max(len(computed), len(stored))
    return int(pc.sum(pc.not_equal(computed, stored)).as_py() or 0)
