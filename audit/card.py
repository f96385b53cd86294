"""The data card of a build, read from the ledger: each number follows from tables that `verify` makes again."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import IncompleteBuildError
from evenly.audit.published import PublishedBuild
from evenly.audit.safe_text import visible
from evenly.curation.arrays import Flags, Floats
from evenly.curation.balance.data_card import BalanceCard, DataCard, describe_balancing
from evenly.curation.balance.judgement import BALANCE, PRESELECT
from evenly.curation.balance.matched_pairs import count_entries
from evenly.curation.concepts.judgement import MATCH_AGAIN, MATCH_CONCEPTS
from evenly.keys import places_in
from evenly.storage.ledger import Ledger, StepRecord

STEPS = (PRESELECT.name, BALANCE.name)
SHOWN = 12


def read_card(build: PublishedBuild) -> DataCard:
    """Return the data card of a build.

    Raises IncompleteBuildError where it has no balancing.
    """
    records = [record for name in STEPS if (record := build.step(name)) is not None]
    matched, concepts = build.step(MATCH_CONCEPTS.name), build.concepts
    if not records or matched is None or concepts is None or "matches" not in matched.hashes:
        raise IncompleteBuildError(f"build `{build.name}` must have matched and balanced its pairs; it did not.")
    labelled = build.step(MATCH_AGAIN.name) if matched.rule.get("texts") == "regions" else None
    counts = np.zeros(len(concepts), np.int64)
    for ledger in build.partitions():
        counts += count_entries(
            ledger.table(labelled or matched, "matches", ["entries"])["entries"].combine_chunks(), len(concepts)
        )
    never = build.table(MATCH_CONCEPTS.name, "unmatchable")
    last = records[-1]
    return DataCard(
        build=build.name,
        seed=int(last.seed or 0),
        rule={"law": "v1", "texts": "each"} | dict(last.rule),
        metadata=str(matched.notes.get("concepts", "")),
        concepts=len(concepts),
        unmatchable={} if never is None else Counter(_why_never(row) for row in never.to_pylist()),
        unmatched=[concepts[number] for number in np.flatnonzero(counts == 0)],
        balancings=[_describe(build, record) for record in records],
    )


def card_lines(card: DataCard) -> Iterator[str]:
    """Yield the card as text for a terminal, without the long lists."""
    rule = ", ".join(f"{name} {value}" for name, value in card.rule.items())
    unmatchable = ", ".join(f"{name} {count:,}" for name, count in card.unmatchable.items()) or "none"
    yield f"{visible(card.build)}: balanced with {visible(rule)}, seed {card.seed}"
    identity = f" (sha256 {card.metadata[:16]})" if card.metadata else ""
    names = f": {visible(', '.join(card.unmatched))}" if 0 < len(card.unmatched) <= SHOWN else ""
    yield f"  {card.concepts:,} concepts{identity}, {len(card.unmatched):,} that no pair names{names}"
    yield f"  can never match: {visible(unmatchable)}"
    for balancing in card.balancings:
        yield ""
        yield from _balancing_lines(balancing)


def _why_never(row: Mapping[str, Any]) -> str:
    """Why an entry can never match, with its language where entries were matched by language."""
    return f"{row['why']} ({row['language']})" if "language" in row else str(row["why"])


def _balancing_lines(card: BalanceCard) -> Iterator[str]:
    expected = f"{card.expected:,.1f} expected (standard deviation {card.spread:,.1f})"
    yield f"{card.step}: {card.kept:,} of {card.pairs:,} pairs kept, {expected}"
    yield f"  matches {card.matches_before:,} -> {card.matches_after:,}; the tail's share {_shares(vars(card))}"
    yield f"  concepts {card.concepts_before:,} -> {card.concepts_after:,}: head {card.head:,}, tail {card.tail:,}"
    yield f"  sum of min(count, t) over concepts: {card.bound:,.1f}, a pair once for each of its concepts"
    times = f" x {card.headroom:g}" if card.headroom != 1 else ""
    for row in card.languages[:SHOWN]:
        name = row["language"] or ("all" if len(card.languages) == 1 else "no language")
        threshold = f"t {row['t']:,.6g}{times} (below it {row['tail_share']:.4f} of matches)"
        pairs = f"{row['kept']:,} of {row['pairs']:,} pairs, {row['expected']:,.1f} expected"
        yield f"  {visible(name):<12} {threshold}, tail {_shares(row)}, {pairs}"
    if len(card.languages) > SHOWN:
        yield f"  and {len(card.languages) - SHOWN:,} more languages (all of them with --json)"
    yield f"  {'largest concepts':<40} {'before':>10} {'after':>10} {'p':>9}"
    for row in card.largest[:SHOWN]:
        name = visible(f"{row['concept']} ({row['language']})" if row["language"] else row["concept"])
        yield f"    {name:<38} {row['before']:>10,} {row['after']:>10,} {row['p']:>9.4f}"


def _shares(shares: Mapping[str, Any]) -> str:
    return f"{100 * shares['tail_share_before']:.1f} % -> {100 * shares['tail_share_after']:.1f} %"


def _describe(build: PublishedBuild, record: StepRecord) -> BalanceCard:
    chances, kept = list[Floats](), list[Flags]()
    for ledger in build.partitions():
        decisions = ledger.decisions(record, ["uid", "verdict", "value"])
        chances_before = _chances_before(build, ledger, record, decisions["uid"].combine_chunks())
        chances.append(decisions["value"].to_numpy() / chances_before)
        kept.append(pc.equal(decisions["verdict"], "kept").to_numpy())
    return describe_balancing(
        record.name,
        counts=build.ledger.table(record, "counts"),
        thresholds=build.ledger.table(record, "thresholds"),
        chances=np.concatenate(chances),
        kept=np.concatenate(kept),
        headroom=float(record.rule.get("headroom", 1.0)),
    )


def _chances_before(build: PublishedBuild, ledger: Ledger, record: StepRecord, uids: pa.Array) -> Floats | float:
    """P(stay) of each pair in the preselection that came before a step; 1 where there was none."""
    earlier = build.step(PRESELECT.name)
    if earlier is None or record.name == PRESELECT.name:
        return 1.0
    decisions = ledger.decisions(earlier, ["uid", "value"])
    places = places_in(uids, decisions["uid"])
    return np.asarray(decisions["value"].combine_chunks().take(places).to_numpy(), dtype=np.float64)
