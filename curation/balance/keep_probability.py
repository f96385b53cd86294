"""The chance that a pair stays, and how many are expected to: one formula for both laws of balancing.

A pair that matches entries with probabilities p_e stays with P = 1 - prod(1 - p_e) (MetaCLIP, arXiv:2309.16671; both
its versions). Over two phases, P_before is its P in the preselection. By the entries that it matched then it
stays with P_known <= P_before, since the draws are the same; by those that only a new caption matches it stays
independently: P_before - (P_before - P_known) * prod(1 - p_new).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.compiled import compiled, is_compiled_for

UNIT = 2.0**-30
"""Expected pairs are summed in whole units: exactly, so in any order, below 8e9 pairs."""
COMPILED_FROM = 200_000
"""Matches from which loading numba and the compiled loops is worth it."""
LOADED_FROM = 20_000
"""The same where numba is loaded."""


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
        chances = stay_chances(part, probabilities, part_limits) * part.shares
        if part_limits is not None:
            chances /= part_limits.chances
        part_units = np.rint(chances / UNIT).astype(np.int64)
        if len(units) == 1:
            units += part_units.sum()
        else:
            np.add.at(units, part.language, part_units)
    return units


class Loops(NamedTuple):
    """`fill_chances` and `choose_matches`, compiled or not."""

    fill_chances: Callable[..., None]
    choose_matches: Callable[..., None]


def loops_for(n_matches: int) -> Loops:
    """Return the loops in the form that is faster for so many matches; what they fill in is the same to the bit."""
    if not is_compiled_for(n_matches, COMPILED_FROM, loaded=LOADED_FROM):
        return Loops(fill_chances, choose_matches)
    return Loops(compiled(fill_chances), compiled(choose_matches))


def fill_chances(  # noqa: PLR0917 - compiled code takes no keywords
    ends: Ints,
    numbers: npt.NDArray[np.int32],
    language: npt.NDArray[np.int32],
    probabilities: Floats,
    limits: Floats,
    ceilings: Floats,
    chances: Floats,
    certain: Ints,
) -> None:
    """Fill P (n,) of each pair, which stays below its ceiling (n,), and its first match (n,) with p = 1, -1 for none.

    The docstring of the module has the formula.
    """
    for row in range(len(chances)):
        unfired, new_unfired, first = 1.0, 1.0, -1
        for match in range(ends[row], ends[row + 1]):
            p = probabilities[language[row], numbers[match]]
            if len(limits) and np.isinf(limits[match]):
                new_unfired *= 1.0 - p
            else:
                p = min(p, limits[match]) if len(limits) else p
                unfired *= 1.0 - p
            if first < 0 and p >= 1.0:
                first = match
        by_known = min(1.0 - unfired, ceilings[row])
        chances[row] = by_known if new_unfired == 1.0 else ceilings[row] - (ceilings[row] - by_known) * new_unfired
        certain[row] = first


def choose_matches(  # noqa: PLR0917 - compiled code takes no keywords
    ends: Ints,
    numbers: npt.NDArray[np.int32],
    language: npt.NDArray[np.int32],
    probabilities: Floats,
    limits: Floats,
    chances: Floats,
    n_draws: Ints,
    draws: Floats,
    per_match: bool,  # noqa: FBT001
    deciding: Ints,
    deciding_draws: Floats,
) -> None:
    """Fill, for each pair with draws that stays, the match (n,) that keeps it and the draw (n,) that says so.

    draws: those of all pairs, one after the other, `n_draws` (n,) of each. per_match: each match has a draw and fires
    where that is below its p, and of those that fire the one with the smallest draw decides; else the pair has one
    draw, stays where that is below P, and the match with the largest p decides. Of equal ones the first.
    """
    begin = 0
    for row in range(len(chances)):
        if n_draws[row]:
            first, best = ends[row], np.inf
            for match in range(first, ends[row + 1]):
                p = probabilities[language[row], numbers[match]]
                p = min(p, limits[match]) if len(limits) else p
                draw = draws[begin + match - first] if per_match else draws[begin]
                fires = draw < p if per_match else draw < chances[row]
                rank = draw if per_match else -p
                if fires and rank < best:
                    best = rank
                    deciding[row], deciding_draws[row] = match, draw
        begin += n_draws[row]
