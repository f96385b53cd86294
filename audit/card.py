"""The data card of a build, read from the ledger, as text and as the section "Head and tail" of the report.

Each number follows from tables that `verify` makes again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import IncompleteBuildError
from evenly.audit.published import PublishedBuild
from evenly.audit.safe_text import visible
from evenly.curation.arrays import Flags, Floats
from evenly.curation.balance.data_card import LARGEST, BalanceCard, DataCard, describe_balancing
from evenly.curation.balance.judgement import BALANCE, PRESELECT
from evenly.curation.balance.matched_pairs import count_entries
from evenly.curation.concepts.judgement import MATCH_AGAIN, MATCH_CONCEPTS
from evenly.keys import places_in
from evenly.storage.ledger import Ledger, StepRecord

if TYPE_CHECKING:
    from markupsafe import Markup

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
        balancings=list(map(partial(_describe, build), records)),
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


def agreement_plot(series: Mapping[str, Sequence[Mapping[str, Any]]]) -> "Markup":
    """Share of pairs kept against their mean chance to stay, for each step's bins of chance; a line where both agree.

    Bars reach three standard deviations of the draws to both sides of what is expected.
    """
    from evenly.audit.report.plots.figures import COLOURS, MARKERS, SERIES, drawn

    with drawn(f"Share of pairs kept against their chance to stay: {', '.join(series)}", height=3.2) as ((axes,), done):
        axes.plot([0, 1], [0, 1], color=COLOURS["line"], linewidth=1.5, zorder=1)
        for number, (step, rows) in enumerate(series.items()):
            chances = [row["expected"] / row["pairs"] for row in rows]
            reach = [3 * row["spread"] / row["pairs"] for row in rows]
            shares = [row["kept"] / row["pairs"] for row in rows]
            axes.errorbar(chances, chances, yerr=reach, fmt="none", ecolor=COLOURS["muted"], elinewidth=1, capsize=2)
            axes.plot(chances, shares, MARKERS[number], color=SERIES[number], markersize=5, label=step)
        axes.set(xlabel="mean chance to stay", ylabel="share kept", xlim=(-0.02, 1.02), ylim=(-0.05, 1.05))
        axes.legend(loc="upper left")
    return done()


def read_balance(build: PublishedBuild) -> dict[str, Any] | None:
    """The section's facts, None where the build does not balance or nothing came so far.

    The tail are the concepts that balancing leaves alone (p = 1), the head those that it thins out; with thresholds by
    language, a concept counts in each language. Shares are of all matches: a pair that names several concepts counts
    for each. `moments` are before any draw, maybe after the preselection, and after balancing; what there was before a
    preselection is estimated from the pairs that it let through, each counted by the inverse of its chance.
    """
    if build.step(BALANCE.name) is None:
        return None
    from evenly.audit.report.plots.figures import rank_plot, rank_rows  # here, for they load markupsafe

    card = read_card(build)
    last = card.balancings[-1]
    if not last.entries.num_rows:
        return None
    drawn_from, after, weighted, p = (
        np.asarray(last.entries[name].to_numpy(), dtype=np.float64) for name in ("before", "after", "weighted", "p")
    )
    threshold = float(last.languages[0]["t"]) if len(last.languages) == 1 else None
    preselected = not np.allclose(weighted, drawn_from)
    series = {"before any draw": weighted, "after the preselection": drawn_from, "kept": after}
    if not preselected:
        del series["after the preselection"]
    moments = [_moment(name, counts, p >= 1) for name, counts in series.items()]
    return {
        "card": card,
        "concepts": last.concepts_before,
        "concepts_after": last.concepts_after,
        "head": last.head,
        "tail": last.tail,
        "t": threshold,
        "moments": moments,
        "tail_before": moments[0]["tail"],
        "tail_after": moments[-1]["tail"],
        "most": float(weighted.max()),
        "rows": last.largest,
        "preselected": preselected,
        "plot": rank_plot(series, head=0 if threshold is None else last.head, threshold=threshold),
        "ranks": rank_rows(series),
        "agreement": agreement_plot({balancing.step: balancing.agreement for balancing in card.balancings}),
    }


def _moment(name: str, counts: np.ndarray, tail: np.ndarray) -> dict[str, Any]:
    """The shares of all matches that head, tail and the largest concepts hold."""
    total = float(counts.sum()) or 1.0
    return {
        "name": name,
        "head": float(counts[~tail].sum()) / total,
        "tail": float(counts[tail].sum()) / total,
        "largest": float(np.sort(counts)[::-1][:LARGEST].sum()) / total,
    }
