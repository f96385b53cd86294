"""Source mixing: draws, thresholds and verdicts are made again from the ledger and compared with what is stored."""

from collections.abc import Iterator, Mapping
from functools import partial

import pyarrow.compute as pc

from evenly.audit.checks.findings import Finding
from evenly.audit.explanation import PairHistory, Replay, StepSight
from evenly.audit.published import PublishedBuild
from evenly.curation.balance.parts import SourceMixing
from evenly.curation.balance.source_mixing import STEP, SourceCut, SourceRule, source_table
from evenly.curation.draws import draw
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.tables.hashing import table_hash


def check_mix(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each column of the mixing step, and its table, that comes out otherwise."""
    for record in build.records:
        if record.name != STEP or record.seed is None:
            continue
        mixing = _mixing(build, record)
        cuts, _ = mixing.cuts(build.each)
        parts = build.each("mixing again", partial(_differing, mixing, cuts, record))
        for name in dict.fromkeys(name for part in parts for name in part):
            yield Finding.of("mix", record.name, f"{name} differs when the sources are mixed again")
        if table_hash(source_table(mixing.rules, cuts)) != table_hash(build.ledger.table(record, "sources")):
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
    mixing = _mixing(build, record)
    cuts, _ = mixing.cuts(build.each)
    table = mixing.decided(cuts, build.around(pair.uid))
    (row,) = table.filter(pc.equal(table["uid"], pair.uid)).to_pylist()
    threshold = row["mix_threshold"]
    agrees = threshold == sight.columns.get("mix_threshold") and row["reason"] == sight.reason
    ranked = sum(cut.pairs for cut in cuts.values())
    detail = f"draw made again, threshold {threshold:.6f} from {ranked:,} pairs ranked again"
    return Replay(label="recomputed", agrees=agrees, detail=detail)


def _mixing(build: PublishedBuild, record: StepRecord) -> SourceMixing:
    """A mixing step of a build, to be made again."""
    return SourceMixing(
        upstream=build.records[: build.records.index(record)],
        rules={name: SourceRule(**rule) for name, rule in record.rule["sources"].items()},
        seed=int(record.seed or 0),
    )


def _differing(mixing: SourceMixing, cuts: Mapping[str, SourceCut], record: StepRecord, ledger: Ledger) -> list[str]:
    """The columns of a partition that come out otherwise."""
    computed, stored = mixing.decided(cuts, ledger), ledger.decisions(record)
    return [
        name
        for name in computed.column_names
        if table_hash(computed.select([name])) != table_hash(stored.select([name]))
    ]
