"""Source mixing: draws, thresholds and verdicts are made again from the ledger and compared with what is stored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.checks.findings import Finding
from evenly.audit.explanation import PairHistory, Replay, StepSight
from evenly.audit.published import PublishedBuild
from evenly.curation.balance.source_mixing import (
    STEP,
    SourceCounts,
    SourceCut,
    SourceRule,
    count_sources,
    cut_sources,
    draws_in_bins,
    mix_by,
    source_table,
)
from evenly.curation.draws import draw
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.tables.hashing import table_hash


@dataclass(frozen=True, kw_only=True)
class _Mixing:
    """A mixing step made again: its rules, the `pairs` that it saw, and where those of each source end."""

    upstream: Sequence[StepRecord]
    rules: Mapping[str, SourceRule]
    seed: int
    cuts: Mapping[str, SourceCut]
    pairs: int

    @classmethod
    def again(cls, build: PublishedBuild, record: StepRecord) -> "_Mixing":
        """Count all pairs of a build by source and draw, partition by partition, and cut each source."""
        upstream, seed = build.records[: build.records.index(record)], int(record.seed or 0)
        rules = {name: SourceRule(**rule) for name, rule in record.rule["sources"].items()}

        def counted(ledger: Ledger) -> tuple[int, dict[str, SourceCounts]]:
            uids, sources = _pairs(ledger, upstream)
            return len(uids), count_sources(uids, sources, rules, seed=seed)

        def drawn(bins: Mapping[str, int], ledger: Ledger) -> dict[str, list[tuple[float, str]]]:
            return draws_in_bins(*_pairs(ledger, upstream), bins, seed=seed)

        def draws_of(bins: Mapping[str, int]) -> dict[str, list[tuple[float, str]]]:
            parts = build.each("finding thresholds", partial(drawn, bins))
            return {name: [row for part in parts for row in part[name]] for name in bins}

        counts: dict[str, SourceCounts] = {}
        pairs = 0
        for number, part in build.each("counting sources", counted):
            pairs += number
            counts = {name: counts[name] + part[name] if counts else part[name] for name in part}
        cuts, _ = cut_sources(rules, counts, draws_of)
        return cls(upstream=upstream, rules=rules, seed=seed, cuts=cuts, pairs=pairs)

    def decided(self, ledger: Ledger) -> pa.Table:
        """What the step says of the pairs of a ledger."""
        uids, sources = _pairs(ledger, self.upstream)
        decisions, thresholds = mix_by(uids, sources, self.rules, self.cuts, seed=self.seed)
        return decisions.to_table(uids).append_column("mix_threshold", thresholds)


def check_mix(build: PublishedBuild) -> Iterator[Finding]:
    """Yield a finding for each column of the mixing step, and its table, that comes out otherwise."""
    for record in build.records:
        if record.name != STEP or record.seed is None:
            continue
        mixing = _Mixing.again(build, record)

        def differing(ledger: Ledger, mixing: _Mixing = mixing, record: StepRecord = record) -> list[str]:
            computed, stored = mixing.decided(ledger), ledger.decisions(record)
            return [
                name
                for name in computed.column_names
                if table_hash(computed.select([name])) != table_hash(stored.select([name]))
            ]

        for name in dict.fromkeys(name for part in build.each("mixing again", differing) for name in part):
            yield Finding.of("mix", record.name, f"{name} differs when the sources are mixed again")
        if table_hash(source_table(mixing.rules, mixing.cuts)) != table_hash(build.ledger.table(record, "sources")):
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
    mixing = _Mixing.again(build, record)
    table = mixing.decided(build.around(pair.uid))
    (row,) = table.filter(pc.equal(table["uid"], pair.uid)).to_pylist()
    threshold = row["mix_threshold"]
    agrees = threshold == sight.columns.get("mix_threshold") and row["reason"] == sight.reason
    detail = f"draw made again, threshold {threshold:.6f} from {mixing.pairs:,} pairs ranked again"
    return Replay(label="recomputed", agrees=agrees, detail=detail)


def _pairs(ledger: Ledger, upstream: Sequence[StepRecord]) -> tuple[pa.Array, pa.Array]:
    pairs = ledger.alive(upstream, ["source"])
    return pairs["uid"].combine_chunks(), pairs["source"].combine_chunks()
