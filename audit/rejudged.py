"""Steps judged again: what a step must have said of pairs, by its judgement, held against what it said."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.curation.step import Exchange, Given, Judged, Judgement, Rejudging
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.tables.exchange import PartitionExchange, open_exchange
from evenly.storage.tables.hashing import table_hash


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A column of a step's table that comes out otherwise for `rows` of the pairs that were judged again.

    computed and stored: the values of the first of them, a list of these where a pair has several rows.
    """

    table: str
    column: str
    rows: int
    computed: object
    stored: object


@contextmanager
def open_rejudging(build: PublishedBuild, record: StepRecord, judgement: Judgement) -> Iterator[Rejudging]:
    """A step of a build, to be judged again. Raises what curation raises where its rule is one of another time."""
    bits = build.deciding[0].bits

    @contextmanager
    def exchange() -> Iterator[Exchange]:
        with open_exchange(build.workspace.exchange, record.name) as folder:
            yield PartitionExchange(folder=folder, bits=bits)

    if judgement.rejudge is None:
        raise TypeError(f"step `{record.name}` is observed, and not judged again")
    given = Given(
        record=record,
        upstream=build.records[: build.records.index(record)],
        rule=judgement.load(record.rule),
        seed=int(record.seed or 0),
        notes=record.notes,
        whole=build.ledger,
        each=build.each,
        exchange=exchange if bits else None,
    )
    with judgement.rejudge(given) as rejudging:
        yield rejudging


def other_notes(rejudging: Rejudging, record: StepRecord) -> list[Difference]:
    """The notes of a step that come out otherwise."""
    return [
        Difference(table="notes", column=name, rows=1, computed=value, stored=record.notes.get(name))
        for name, value in rejudging.notes.items()
        if record.notes.get(name) != value
    ]


def differences(judged: Judged, record: StepRecord, ledger: Ledger) -> list[Difference]:
    """Where a step said otherwise of the pairs that a ledger shows, or judged others."""
    decisions = ledger.decisions(record)
    if ledger.only is not None:
        decisions = decisions.filter(pc.is_in(decisions["uid"], ledger.only))
    if not decisions["uid"].combine_chunks().equals(judged.uids):
        counts = (len(judged.uids), decisions.num_rows)
        rows = abs(counts[0] - counts[1]) or 1
        return [Difference(table="decisions", column="uid", rows=rows, computed=counts[0], stored=counts[1])]
    stored = decisions
    computed = judged.decisions.to_table(judged.uids).drop(["uid"])
    for name, values in judged.columns.items():
        computed = computed.append_column(name, values)
    found = [_differing("decisions", name, computed, stored) for name in computed.column_names]
    for name, table in judged.tables.items():
        found += _child_differences(name, table, _stored_rows(record, name, ledger, judged.uids), judged.uids)
    return [difference for difference in found if difference is not None]


def _differing(table: str, name: str, computed: pa.Table, stored: pa.Table) -> Difference | None:
    if name not in stored.column_names:
        return Difference(table=table, column=name, rows=computed.num_rows, computed=None, stored="no such column")
    if table_hash(computed.select([name])) == table_hash(stored.select([name])):
        return None
    both = zip(computed[name].to_pylist(), stored[name].to_pylist(), strict=True)
    pairs = [(one, other) for one, other in both if one != other and not (one != one and other != other)]  # noqa: PLR0124 - NaN
    if not pairs:
        return None
    return Difference(table=table, column=name, rows=len(pairs), computed=pairs[0][0], stored=pairs[0][1])


def _stored_rows(record: StepRecord, name: str, ledger: Ledger, uids: pa.Array) -> pa.Table | None:
    if name not in record.hashes:
        return None
    table = ledger.table(record, name)
    return table.filter(pc.is_in(table["uid"], uids))


def _child_differences(
    name: str, computed: pa.Table, stored: pa.Table | None, uids: pa.Array
) -> Iterator[Difference | None]:
    if stored is None:
        yield Difference(table=name, column="", rows=len(uids), computed=None, stored="no such table")
    elif computed["uid"].combine_chunks().equals(stored["uid"].combine_chunks()):
        for column in computed.column_names:
            yield _differing(name, column, computed, stored)
    else:
        own, other = ({row["uid"] for row in table.select(["uid"]).to_pylist()} for table in (computed, stored))
        first = min(own ^ other, default="")
        sides = (table.filter(pc.equal(table["uid"], first)).to_pylist() for table in (computed, stored))
        computed_rows, stored_rows = sides
        yield Difference(
            table=name, column="uid", rows=len(own ^ other) or 1, computed=computed_rows, stored=stored_rows
        )
