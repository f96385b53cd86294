"""Conservation: every step judged exactly what the steps before kept, and its numbers add up."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.checks.findings import Finding
from evenly.audit.published import PublishedBuild
from evenly.storage.ledger import VERDICTS, StepRecord


def check_conservation(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each step whose rows, verdicts or counts do not fit those before it or its own record."""
    alive: pa.Array | None = None
    for record in build.deciding:
        decisions = build.ledger.decisions(record, ["uid", "verdict", "reason", "into"])
        uids = decisions["uid"].combine_chunks()
        kept = uids.filter(pc.equal(decisions["verdict"], "kept").combine_chunks())
        yield from _check_order(record, uids)
        if alive is None:
            judged = build.ledger.table(record, "arrivals") if "arrivals" in record.hashes else decisions
            yield from _check_arrivals(record, judged, kept)
        else:
            judged = decisions
            yield from _check_input(record, uids, alive)
        yield from _check_counts(record, judged)
        yield from _check_twins(record, decisions, kept)
        alive = kept


def _check_order(record: StepRecord, uids: pa.Array) -> Iterator[Finding]:
    if len(uids) > 1:
        disorder = pc.sum(pc.greater_equal(uids.slice(0, len(uids) - 1), uids.slice(1))).as_py()
        if disorder:
            yield Finding.of("conservation", record.name, f"{disorder} uids are doubled or out of order")


def _check_arrivals(record: StepRecord, arrivals: pa.Table, kept: pa.Array) -> Iterator[Finding]:
    """Each pair is one arrival that was kept, and each kept arrival is a pair."""
    arrived = arrivals.filter(pc.equal(arrivals["verdict"], "kept"))["uid"].combine_chunks()
    if not arrived.sort().equals(kept.sort()):
        text = f"{len(kept)} pairs, but {len(arrived)} arrivals were kept, or others"
        yield Finding.of("conservation", record.name, text)


def _check_input(record: StepRecord, uids: pa.Array, alive: pa.Array) -> Iterator[Finding]:
    if uids.equals(alive):
        return
    lost = len(alive.filter(pc.invert(pc.is_in(alive, uids))))
    invented = len(uids.filter(pc.invert(pc.is_in(uids, alive))))
    text = f"judged {len(uids)} rows where the steps before kept {len(alive)}: {lost} lost, {invented} invented"
    yield Finding.of("conservation", record.name, text)


def _check_counts(record: StepRecord, judged: pa.Table) -> Iterator[Finding]:
    verdicts = _counted(judged["verdict"])
    dropped = judged.filter(pc.not_equal(judged["verdict"], "kept"))
    counts = {
        "rows_in": (record.rows_in, judged.num_rows),
        "sum of counts": (record.rows_in, sum(record.counts.values())),
        "counts": ({name: record.counts.get(name, 0) for name in VERDICTS}, {n: verdicts.get(n, 0) for n in VERDICTS}),
        "reasons": (dict(record.reasons), _counted(dropped["reason"])),
    }
    for name, (recorded, counted) in counts.items():
        if recorded != counted:
            yield Finding.of("conservation", f"{record.name}.{name}", f"record says {recorded}; counted {counted}")


def _check_twins(record: StepRecord, decisions: pa.Table, kept: pa.Array) -> Iterator[Finding]:
    """A merged pair names a twin that the step kept; no other pair names one."""
    merged = pc.equal(decisions["verdict"], "merged")
    odd = pc.not_equal(merged, pc.is_valid(decisions["into"]))
    if count := pc.sum(odd).as_py():
        yield Finding.of("conservation", record.name, f"{count} rows are merged without a twin, or not merged with one")
    survivors = decisions.filter(merged)["into"].drop_null()
    orphans = len(survivors.filter(pc.invert(pc.is_in(survivors, kept))))
    if orphans:
        yield Finding.of(
            "conservation", record.name, f"{orphans} rows are merged into pairs that the step did not keep"
        )


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {str(item["values"]): int(item["counts"]) for item in pc.value_counts(column).to_pylist()}
