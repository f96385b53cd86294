"""The data card of a balancing: the spread of matches over concepts before and after, and the pairs expected to stay.

Source: MetaCLIP (arXiv:2309.16671), which publishes counts per entry as a card of its data; Data Cards (Pushkarna et
al. 2022, arXiv:2204.01075). Differs: expected and observed pairs stand side by side, and every number follows from
tables that the step left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Floats
from evenly.curation.balance.parts import BalanceFacts
from evenly.curation.balance.sums import BalanceSums
from evenly.curation.balance.thresholds import UNIT, BalanceRule, entry_probabilities
from evenly.curation.errors import ColumnsError

LARGEST = 20
BINS = 10
WARN_SHARE = 0.05
"""A concept that decides more than this share of the pairs that are drawn for is named in a warning."""
SHOWN = 10
"""Of the concepts that are named in it."""


@dataclass(frozen=True, kw_only=True)
class BalanceCard:
    """One balancing step.

    expected: pairs that stay in the mean, against those `kept`; spread: its standard deviation, were all pairs drawn
    independently. bound: the sum of min(c, t) over concepts, which counts a pair once for each of its concepts
    (MetaCLIP's 400M: 1.6 times as many). head: concepts thinned out, tail: those left alone; tail_share: of all
    matches. languages: rows of THRESHOLDS, most pairs first, with the shares of
    their tails. agreement: pairs by chance, with expected and kept.
    entries: rows of COUNTS, most matches first; largest: the first of them.
    """

    step: str
    headroom: float
    pairs: int
    kept: int
    expected: float
    spread: float
    bound: float
    matches_before: int
    matches_after: int
    concepts_before: int
    concepts_after: int
    head: int
    tail: int
    tail_share_before: float
    tail_share_after: float
    languages: Sequence[Mapping[str, Any]]
    agreement: Sequence[Mapping[str, Any]]
    entries: pa.Table

    @property
    def largest(self) -> list[dict[str, Any]]:
        """The rows of the concepts with the most matches."""
        rows: list[dict[str, Any]] = self.entries.slice(0, LARGEST).to_pylist()
        return rows

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON-able values."""
        return _values(self) | {"largest": self.largest, "entries": self.entries.to_pylist()}


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """The rules that balanced a build, and the result; `balancings` in order, preselection first.

    metadata: identity of the concept list (hex sha256), its `concepts`, and how many of them can never match, by why
    ("why (language)" where captions were matched by language).
    unmatched: the concepts that no pair of the pool names, or, where they are labels of regions, none of the pairs that
    came to `match_again`. rule: of the last balancing, law and texts among it.
    """

    build: str
    seed: int
    rule: Mapping[str, Any]
    metadata: str
    concepts: int
    unmatchable: Mapping[str, int]
    unmatched: Sequence[str]
    balancings: Sequence[BalanceCard]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON-able values."""
        return _values(self) | {"balancings": [card.to_dict() for card in self.balancings]}


def describe_balancing(
    step: str,
    *,
    counts: pa.Table,
    thresholds: pa.Table,
    chances: Floats,
    kept: Flags,
    headroom: float = 1.0,
) -> BalanceCard:
    """Return the card of a step from its tables COUNTS and THRESHOLDS and, per pair, the chance to stay and whether.

    chances (n,): P(stay) given that the pair had come as far.
    """
    if len(chances) != len(kept):
        raise ColumnsError(f"`chances` and `kept` must be of the same pairs; got {len(chances)} and {len(kept)}.")
    counts = counts.sort_by([("before", "descending"), ("language", "ascending"), ("concept", "ascending")])
    matches_before, matches_after, weighted, p = (
        counts[name].to_numpy() for name in ("before", "after", "weighted", "p")
    )
    tail = p >= 1
    bounded = np.clip(chances, 0.0, 1.0)
    return BalanceCard(
        step=step,
        headroom=headroom,
        pairs=len(kept),
        kept=int(kept.sum()),
        expected=float(np.sum(thresholds["expected"].to_numpy())),
        spread=float(np.sqrt((bounded * (1 - bounded)).sum())),
        bound=float((weighted * p).sum()),
        matches_before=int(matches_before.sum()),
        matches_after=int(matches_after.sum()),
        concepts_before=_occurring(counts, matches_before > 0),
        concepts_after=_occurring(counts, matches_after > 0),
        head=int((~tail).sum()),
        tail=int(tail.sum()),
        tail_share_before=_share(matches_before, tail),
        tail_share_after=_share(matches_after, tail),
        languages=_languages(counts, thresholds),
        agreement=_agreement(bounded, kept),
        entries=counts,
    )


def summed_balancing(thresholds: pa.Table, counts: pa.Table) -> dict[str, Any]:
    """Thresholds by language, pairs expected to stay, and the tail's share of the matches that stay.

    The tail are the concepts that are not thinned out.
    """
    matches = pc.sum(counts["after"]).as_py() or 0
    of_tail = pc.sum(counts.filter(pc.greater_equal(counts["p"], 1.0))["after"]).as_py() or 0
    return {
        "t": dict(zip(thresholds["language"].to_pylist(), thresholds["t"].to_pylist(), strict=True)),
        "expected": round(pc.sum(thresholds["expected"]).as_py() or 0.0, 3),
        "tail_share": round(of_tail / matches, 6) if matches else None,
    }


def _values(card: BalanceCard | DataCard) -> dict[str, Any]:
    return {field.name: getattr(card, field.name) for field in fields(card)}


def _occurring(counts: pa.Table, rows: Flags) -> int:
    return len(np.unique(counts["entry"].to_numpy()[rows]))


def _share(counts: npt.NDArray[Any], part: Flags) -> float:
    total = float(counts.sum())
    return float(counts[part].sum()) / total if total else 0.0


def _languages(counts: pa.Table, thresholds: pa.Table) -> list[dict[str, Any]]:
    """The rows of THRESHOLDS, most pairs first, each with the share of matches that its tail holds before and after."""
    language, tail = np.array(counts["language"].to_pylist(), dtype=object), counts["p"].to_numpy() >= 1
    rows: list[dict[str, Any]] = thresholds.sort_by([("pairs", "descending"), ("language", "ascending")]).to_pylist()
    for row in rows:
        in_language = language == row["language"]
        for moment in ("before", "after"):
            row[f"tail_share_{moment}"] = _share(counts[moment].to_numpy()[in_language], tail[in_language])
    return rows


def _agreement(chances: Floats, kept: Flags) -> list[dict[str, Any]]:
    """Pairs in ten bins of their chance, the last for those that are certain to stay; empty bins are left out."""
    number = np.where(chances >= 1, BINS, np.minimum((chances * BINS).astype(np.int64), BINS - 1))
    pairs, stayed, expected = (
        np.bincount(number, weights=weights, minlength=BINS + 1) for weights in (None, kept, chances)
    )
    variance = np.bincount(number, weights=chances * (1 - chances), minlength=BINS + 1)
    return [
        {
            "from": bin_ / BINS,
            "to": min((bin_ + 1) / BINS, 1.0),
            "pairs": int(pairs[bin_]),
            "expected": float(expected[bin_]),
            "spread": float(np.sqrt(variance[bin_])),
            "kept": int(stayed[bin_]),
        }
        for bin_ in np.flatnonzero(pairs)
    ]


def balance_notes(rule: BalanceRule, facts: BalanceFacts, concepts: pa.Array, sums: BalanceSums) -> dict[str, Any]:
    """The threshold, the number of pairs expected to stay, concepts with p = 1, and those that decide many pairs."""
    notes = _threshold(rule, facts) | {"expected": round(float((sums.units.astype(np.float64) * UNIT).sum()), 3)}
    return notes | _tail(rule, facts, sums) | _deciding(sums, concepts)


def _threshold(rule: BalanceRule, facts: BalanceFacts) -> dict[str, Any]:
    """The threshold that the others follow from, where there is one; the table has all."""
    if rule.language is None:
        return {"t": float(facts.thresholds[0])}
    if rule.tail_share is None:
        return {"t": float(facts.thresholds[facts.languages.index(rule.reference)]), "language": rule.reference}
    return {"languages": len(facts.languages)}


def _tail(rule: BalanceRule, facts: BalanceFacts, sums: BalanceSums) -> dict[str, Any]:
    """The number of concepts with p = 1, and their share of all matches: of the pool's, of the kept pairs'.

    The pool's are estimated where the pairs survived a preselection.
    """
    tail = (entry_probabilities(facts.counts, facts.thresholds * rule.headroom) >= 1) & (sums.before > 0)
    matches = {"pool": facts.counts, "kept": sums.after}
    shares = {name: round(float(counts[tail].sum() / max(counts.sum(), 1)), 6) for name, counts in matches.items()}
    return {"tail": {"concepts": int(tail.sum()), **shares}}


def _deciding(sums: BalanceSums, concepts: pa.Array) -> dict[str, Any]:
    """Counts of drawn pairs, the concepts that decide many of them, and those with pairs that name nothing else."""
    drawn = int(sums.decides.sum())
    deciding = np.flatnonzero(sums.decides > WARN_SHARE * drawn)
    return {
        "drawn": drawn,
        "decide_many": _largest(sums.decides, deciding, concepts),
        "alone": int(sums.alone.sum()),
        "alone_most": _largest(sums.alone, np.flatnonzero(sums.alone), concepts)[:SHOWN],
    }


def _largest(counts: np.ndarray, entries: np.ndarray, concepts: pa.Array) -> list[list[Any]]:
    """[concept, count] of `entries`, by falling count."""
    order = entries[np.argsort(-counts[entries], kind="stable")]
    return [[concepts[int(entry)].as_py(), int(counts[entry])] for entry in order]
