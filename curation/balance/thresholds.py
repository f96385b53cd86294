"""Thresholds t, the number of pairs from which an entry is thinned: given, or by a share of the tail or a target.

Source: MetaCLIP v1 (arXiv:2309.16671) for t, MetaCLIP 2 (arXiv:2507.22062) for one tail share in all languages.
Differs: a language without matches has t = 1 and a tail share of 0, where theirs divides by zero.

A pair that matches entries with probabilities p_e stays with P = 1 - prod(1 - p_e), by both laws. Over two phases,
P_before is its P in the preselection. By the entries that it matched then it stays with P_known <= P_before, since the
draws are the same; by those that only a new caption matches it stays independently: P_before - (P_before - P_known) *
prod(1 - p_new).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt

from evenly.bounds import FINITE, Share, Wording, check_bounds
from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.kernels import loops_for
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.errors import RuleError

Law = Literal["v1", "v2"]
Texts = Literal["each", "one_per_image"]
Headroom = Annotated[float, Ge(1), Wording(remedy="Write 3 to allow for losing two of three.")]
_LARGE = Wording(demand="be above 0 and finite", remedy="Correct it: large ones keep all.")
_STEPS = 2.0**-40
UNIT = 2.0**-30
"""Expected pairs are summed in whole units: exactly, so in any order, below 8e9 pairs."""


@dataclass(frozen=True, kw_only=True)
class BalanceRule:
    """The rule of balancing: its thresholds and its draws.

    Exactly one of t, tail_share and target. law: v1 draws for each match and keeps a pair that any draws in; v2 draws
    once per pair. texts: judge each text of a picture, or one of them. language: whether each language has its own t;
    reference: the language whose threshold is `t`. headroom: by how much thresholds are raised.
    """

    t: Annotated[float, Gt(0), FINITE, _LARGE] | None = None
    tail_share: Share | None = None
    target: Annotated[int | float, Gt(0), Lt(math.inf), _LARGE] | None = None
    law: Law = "v1"
    texts: Texts = "each"
    language: str | None = None
    reference: str = "en"
    headroom: Headroom = 1.0

    def __post_init__(self) -> None:
        chosen = [name for name in ("t", "tail_share", "target") if getattr(self, name) is not None]
        if len(chosen) != 1:
            named = ", ".join(chosen) or "none"
            raise RuleError(f"balance needs exactly one of t, tail_share, target; got {named}. Correct it.")
        check_bounds(self, RuleError, remedy="Correct it.")


@dataclass(frozen=True, eq=False, kw_only=True)
class PreselectionLimits:
    """Chances and limits of the survivors of a preselection.

    chances (n,): P of each pair there. limits (m,): the probability of each match there, above which it may not rise;
    infinite for an entry that the pair matches since.
    """

    chances: Floats
    limits: Floats

    def part(self, rows: slice, matches: slice) -> "PreselectionLimits":
        """The limits of some of the pairs, and of their matches."""
        return PreselectionLimits(chances=self.chances[rows], limits=self.limits[matches])


def stay_chances(pairs: MatchedPairs, probabilities: Floats, earlier: PreselectionLimits | None = None) -> Floats:
    """Return P (n,) of each pair from the probabilities (L, E) of entries; 0 for a pair without matches.

    The chance that a pair's text is judged at all (`pairs.shares`) is no part of it.
    """
    limits, ceilings = (np.empty(0), np.ones(len(pairs))) if earlier is None else (earlier.limits, earlier.chances)
    chances, certain = np.empty(len(pairs)), np.empty(len(pairs), dtype=np.int64)
    fill_chances = loops_for(len(pairs.numbers)).fill_chances
    fill_chances(pairs.ends, pairs.numbers, pairs.language, probabilities, limits, ceilings, chances, certain)
    return chances


def expected_units(pairs: MatchedPairs, probabilities: Floats, earlier: PreselectionLimits | None = None) -> Ints:
    """Return how many of these pairs are expected to stay, per language (L,), in units of 2**-30.

    The units of parts add up exactly to those of the whole.
    """
    units = np.zeros(len(pairs.languages), dtype=np.int64)
    for rows, matches, part in pairs.batches():
        part_limits = None if earlier is None else earlier.part(rows, matches)
        units += units_of(part, stay_chances(part, probabilities, part_limits), part_limits)
    return units


def units_of(pairs: MatchedPairs, chances: Floats, earlier: PreselectionLimits | None) -> Ints:
    """Return what `expected_units` gives, of chances (n,) as `stay_chances` gives them."""
    chances = chances * pairs.shares if earlier is None else chances * pairs.shares / earlier.chances
    units, of_pairs = np.zeros(len(pairs.languages), dtype=np.int64), np.rint(chances / UNIT).astype(np.int64)
    if len(units) == 1:
        units += of_pairs.sum()
    else:
        np.add.at(units, pairs.language, of_pairs)
    return units


def entry_probabilities(counts: Floats, t: float | Floats) -> Floats:
    """Return p_e = min(1, t / c_e), in (0, 1], per entry; an entry without pairs has 1.

    counts (E,) with one t, or (L, E) with one for each language (L,).
    """
    thresholds = np.asarray(t, dtype=np.float64)
    if not (thresholds > 0).all():
        raise RuleError(f"`t` must be above 0; got {t}. Choose the count at which entries begin to be thinned.")
    wanted = np.broadcast_to(thresholds[..., None] if thresholds.ndim else thresholds, counts.shape)
    return np.divide(wanted, counts, out=np.ones(counts.shape), where=counts >= wanted)


def tail_share(counts: Floats, t: float) -> float:
    """Return the share of matches that entries with c_e < t hold (MetaCLIP 2: t_to_p); 0 where there are no matches."""
    total = counts.sum()
    return float(counts[counts < t].sum() / total) if total else 0.0


def threshold_for_tail(counts: Floats, share: float) -> float:
    """Return the count at which the sorted cumulative share is nearest to `share` (MetaCLIP 2: p_to_t).

    1 without matches. The way back loses: t_to_p is strict, so p_to_t(t_to_p(t)) is the largest count below t.
    """
    return _Tail.of(counts).threshold(share)


def choose_thresholds(
    rule: BalanceRule, pairs: MatchedPairs, counts: Floats, earlier: PreselectionLimits | None = None
) -> Floats:
    """Return t per language (L,), before headroom, from counts (L, E) over the whole.

    With `language`, `t` is the threshold of the reference language, and its tail share gives that of every other
    (MetaCLIP 2); a target moves the former. What is expected then moves in steps: the smallest that reaches the target.
    """

    def expected(tried: Sequence[Floats]) -> list[int]:
        return [int(expected_units(pairs, entry_probabilities(counts, t), earlier).sum()) for t in tried]

    return thresholds_by(rule, pairs.languages, counts, expected)


def thresholds_by(
    rule: BalanceRule,
    languages: tuple[str, ...],
    counts: Floats,
    expected: Callable[[Sequence[Floats]], Sequence[int]],
    *,
    ahead: int = 1,
) -> Floats:
    """Return what `choose_thresholds` does, where pairs are known by what they give for thresholds (L,).

    expected: for each of several thresholds, how many pairs stay, in units of 2**-30. ahead: so many halvings of the
    range are tried at once, which costs 2**ahead - 1 thresholds each time.
    """
    if rule.tail_share is not None:
        return np.array([threshold_for_tail(row, rule.tail_share) for row in counts])
    thresholds_at = _tied(rule, languages, counts)
    if rule.t is not None:
        return thresholds_at(rule.t)
    highest = float(max(counts.max(initial=1.0), 1.0))

    def reached(tried: Sequence[float]) -> Sequence[int]:
        return expected([thresholds_at(t) for t in tried])

    return thresholds_at(_smallest_reaching(reached, round((rule.target or 0) / UNIT), highest, ahead))


def _tied(rule: BalanceRule, languages: tuple[str, ...], counts: Floats) -> Callable[[float], Floats]:
    """Return the function from the reference language's t to every language's."""
    if rule.language is None:
        return lambda t: np.array([t], dtype=np.float64)
    if rule.reference not in languages:
        listing = ", ".join(name or "none" for name in languages)
        raise RuleError(
            f"`reference` must be a language of the pairs; got {rule.reference!r}, and they are in {listing}. "
            "Name one of these, or give tail_share, which needs no reference."
        )
    tails, first = [_Tail.of(row) for row in counts], languages.index(rule.reference)

    def at(t: float) -> Floats:
        share = tails[first].share(t)
        return np.array([t if number == first else tail.threshold(share) for number, tail in enumerate(tails)])

    return at


def _smallest_reaching(
    expected: Callable[[Sequence[float]], Sequence[int]], target: int, highest: float, ahead: int
) -> float:
    """Return the smallest t in (0, highest], to 2**-40 of it, at which `expected` reaches `target`; else highest."""
    low, high = 0.0, highest
    if expected([high])[0] <= target:
        return high
    reached = dict[float, int]()
    while high - low > _STEPS * high:
        middle = (low + high) / 2
        if middle not in reached:
            tried = _middles(low, high, ahead)
            reached = dict(zip(tried, expected(tried), strict=True))
        low, high = (middle, high) if reached[middle] < target else (low, middle)
    return high


def _middles(low: float, high: float, depth: int) -> list[float]:
    """All middles that so many halvings of the range may come to."""
    if depth == 0:
        return []
    middle = (low + high) / 2
    return [middle, *_middles(low, middle, depth - 1), *_middles(middle, high, depth - 1)]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Tail:
    """Counts above 0 in ascending order, and the share of all matches up to and with each."""

    counts: Floats
    shares: Floats

    @classmethod
    def of(cls, counts: Floats) -> "_Tail":
        ordered = np.sort(counts[counts > 0])
        return cls(counts=ordered, shares=np.cumsum(ordered) / ordered.sum() if len(ordered) else ordered)

    def share(self, t: float) -> float:
        """See `tail_share`."""
        below = int(np.searchsorted(self.counts, t))
        return float(self.shares[below - 1]) if below else 0.0

    def threshold(self, share: float) -> float:
        """See `threshold_for_tail`."""
        if not len(self.counts):
            return 1.0
        above = min(int(np.searchsorted(self.shares, share)), len(self.shares) - 1)
        below = max(above - 1, 0)
        nearer = abs(self.shares[below] - share) <= abs(self.shares[above] - share)
        return float(self.counts[below if nearer else above])
