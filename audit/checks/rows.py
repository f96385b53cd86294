"""Rows: every step judged exactly what the steps before kept, its numbers add up, and the sample table is their sum.

Partitions are looked at one by one, and what is counted of them is added up. Twins of merged pairs may lie in any
partition, and are sent there in files.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.checks.findings import Finding
from evenly.audit.published import PublishedBuild
from evenly.storage.ledger import VERDICTS, Ledger, StepRecord
from evenly.storage.samples import wide_table
from evenly.storage.tables.exchange import each_received, open_exchange, send_rows
from evenly.storage.tables.hashing import LEFT_OUT, table_hash
from evenly.storage.tables.partitions import Partition, first_words


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """Counts of the pairs of a partition that a step judged.

    before: pairs that the steps before kept; of the first step, arrivals that were kept. lost: of these not judged;
    invented: judged and not of these. is_other: whether they are others. odd: rows merged without a twin, or not merged
    with one.
    """

    disorder: int
    rows: int
    kept: int
    before: int
    is_other: bool
    lost: int
    invented: int
    verdicts: Counter[str]
    reasons: Counter[str]
    odd: int


def check_conservation(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each step whose rows, verdicts or counts do not fit those before it or its own record."""
    with open_exchange(build.workspace.exchange, "twins") as twins:
        parts = build.each("conservation", partial(_judged, build, twins))
        for number, record in enumerate(build.deciding):
            judged = [steps[number] for steps in parts]
            if disorder := sum(part.disorder for part in judged):
                yield Finding.of("conservation", record.name, f"{disorder} uids are doubled or out of order")
            if any(part.is_other for part in judged):
                yield Finding.of("conservation", record.name, _miscount(judged, is_first=number == 0))
            yield from _check_counts(record, judged)
            if odd := sum(part.odd for part in judged):
                finding = f"{odd} rows are merged without a twin, or not merged with one"
                yield Finding.of("conservation", record.name, finding)
            yield from _check_twins(build, record, twins / record.name)


def _judged(build: PublishedBuild, twins: Path, ledger: Ledger) -> list[_Judged]:
    """Counts of a partition, of each step; below `twins`, those that its pairs were merged into are sent."""
    bits, judged, alive = build.deciding[0].bits, list[_Judged](), pa.array([], pa.string())
    for record in build.deciding:
        decisions = ledger.decisions(record, ["uid", "verdict", "reason", "into"])
        uids = decisions["uid"].combine_chunks()
        is_merged = pc.equal(decisions["verdict"], "merged")
        kept = uids.filter(pc.equal(decisions["verdict"], "kept").combine_chunks())
        rows = decisions
        if not judged:
            rows = ledger.table(record, "arrivals") if "arrivals" in record.hashes else decisions
            alive = rows.filter(pc.equal(rows["verdict"], "kept"))["uid"].combine_chunks()
        is_other = not (uids.equals(alive) if judged else alive.sort().equals(kept.sort()))
        judged.append(
            _Judged(
                disorder=_disorder(uids, ledger.part),
                rows=rows.num_rows,
                kept=len(uids if judged else kept),
                before=len(alive),
                is_other=is_other,
                lost=len(alive.filter(pc.invert(pc.is_in(alive, uids)))) if is_other else 0,
                invented=len(uids.filter(pc.invert(pc.is_in(uids, alive)))) if is_other else 0,
                verdicts=_counted(rows["verdict"]),
                reasons=_counted(rows.filter(pc.not_equal(rows["verdict"], "kept"))["reason"]),
                odd=pc.sum(pc.not_equal(is_merged, pc.is_valid(decisions["into"]))).as_py() or 0,
            )
        )
        if len(survivors := decisions.filter(is_merged)["into"].drop_null()):
            send_rows(twins / record.name, f"{ledger.part.number:05d}", bits, "uid", [pa.table({"uid": survivors})])
        alive = kept
    return judged


def _disorder(uids: pa.Array, part: Partition) -> int:
    """Uids that are doubled, out of order or in the wrong partition."""
    disorder = pc.sum(pc.greater_equal(uids.slice(0, len(uids) - 1), uids.slice(1))).as_py() if len(uids) > 1 else 0
    if not part.bits:
        return disorder or 0
    words = first_words(pa.table({"uid": uids}), "uid")
    return (disorder or 0) + int(((words < part.first) | (words >= part.end)).sum())


def _miscount(judged: Sequence[_Judged], *, is_first: bool) -> str:
    kept, arrived = sum(part.kept for part in judged), sum(part.before for part in judged)
    if is_first:  # each pair is one arrival that was kept, and each kept arrival is a pair
        return f"{kept} pairs, but {arrived} arrivals were kept, or others"
    lost, invented = sum(part.lost for part in judged), sum(part.invented for part in judged)
    return f"judged {kept} rows where the steps before kept {arrived}: {lost} lost, {invented} invented"


def _check_counts(record: StepRecord, judged: Sequence[_Judged]) -> Iterator[Finding]:
    verdicts = sum((part.verdicts for part in judged), Counter[str]())
    reasons = dict(sum((part.reasons for part in judged), Counter[str]()))
    counts = {
        "rows_in": (record.rows_in, sum(part.rows for part in judged)),
        "sum of counts": (record.rows_in, sum(record.counts.values())),
        "counts": ({name: record.counts.get(name, 0) for name in VERDICTS}, {n: verdicts.get(n, 0) for n in VERDICTS}),
        "reasons": (dict(record.reasons), reasons),
    }
    for name, (recorded, counted) in counts.items():
        if recorded != counted:
            yield Finding.of("conservation", f"{record.name}.{name}", f"record says {recorded}; counted {counted}")


def _check_twins(build: PublishedBuild, record: StepRecord, twins: Path) -> Iterator[Finding]:
    """A finding where pairs are merged into others than the step kept: what they were merged into lies in `twins`."""
    if not twins.is_dir():
        return

    def orphans(ledger: Ledger) -> int:
        kept = ledger.decisions(record, ["uid"], pc.field("verdict") == "kept")["uid"].combine_chunks()
        received = each_received(twins, ledger.part.number)
        return sum(pc.sum(pc.invert(pc.is_in(table["uid"], kept))).as_py() for table in received)

    if count := sum(build.each(f"twins of {record.name}", orphans)):
        yield Finding.of("conservation", record.name, f"{count} rows are merged into pairs that the step did not keep")


def _counted(column: pa.ChunkedArray) -> Counter[str]:
    return Counter({str(item["values"]): int(item["counts"]) for item in pc.value_counts(column).to_pylist()})


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
