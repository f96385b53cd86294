"""Source mixing: draws, thresholds and verdicts are made again from the ledger and compared with what is stored."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from evenly.audit.checks.findings import Finding
from evenly.audit.explanation import PairHistory, Replay, StepSight
from evenly.audit.published import PublishedBuild
from evenly.curation.balance.source_mixing import STEP, Mixed, SourceRule, mix_sources
from evenly.curation.draws import draw
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.tables.hashing import table_hash


def check_mix(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each column of the mixing step, and its table, that comes out otherwise."""
    for number, record in enumerate(build.records):
        if record.name != STEP or record.seed is None:
            continue
        uids, mixed = _mixed(build.ledger, build.records[:number], record)
        computed = mixed.decisions.to_table(uids).append_column("mix_threshold", mixed.thresholds)
        stored = build.ledger.decisions(record)
        for name in computed.column_names:
            if table_hash(computed.select([name])) != table_hash(stored.select([name])):
                yield Finding.of("mix", record.name, f"{name} differs when the sources are mixed again")
        if table_hash(mixed.sources) != table_hash(build.ledger.table(record, "sources")):
            yield Finding.of("mix", f"{record.name}/sources", "differs when the sources are mixed again")


def replay_mix(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> Replay:
    """Return whether a pair's draw, the threshold of its source and its verdict come out as stored."""
    record = build.step(sight.step)
    if sight.seed is None or record is None:
        return Replay(label="not replayed", agrees=None, detail="no seed is stored")
    if sight.value is None:
        ruled = pair.identity.get("source") in sight.rule["sources"]
        return Replay(label="recomputed", agrees=not ruled, detail="its source has no rule")
    value = draw(seed=sight.seed, step=STEP, uid=pair.uid, entry="")
    if value != sight.value:
        return Replay(label="recomputed", agrees=False, detail=f"the draw is {value:.6f}")
    uids, mixed = _mixed(build.ledger, build.records[: build.records.index(record)], record)
    row = uids.index(pair.uid).as_py()
    threshold, reason = mixed.thresholds[row].as_py(), mixed.decisions.reason[row].as_py()
    agrees = threshold == sight.columns.get("mix_threshold") and reason == sight.reason
    detail = f"draw made again, threshold {threshold:.6f} from {len(uids):,} pairs ranked again"
    return Replay(label="recomputed", agrees=agrees, detail=detail)


def _mixed(ledger: Ledger, upstream: Sequence[StepRecord], record: StepRecord) -> tuple[pa.Array, Mixed]:
    pairs = ledger.alive(upstream, ["source"])
    uids, sources = (pairs[name].combine_chunks() for name in ("uid", "source"))
    rules = {name: SourceRule(**source_rule) for name, source_rule in record.rule["sources"].items()}
    return uids, mix_sources(uids, sources, rules, seed=int(record.seed or 0))
