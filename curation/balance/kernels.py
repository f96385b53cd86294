"""The loops of balancing over pairs and their matches: compiled where there are many matches, else run as they stand.

Both take pairs as `MatchedPairs` has them (`ends`, `numbers`, `language`), the probabilities (L, E) of entries, and
the limit (m,) of each match above which its probability may not rise: infinite for an entry that only a new caption
matches; empty where there are no limits.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evenly.curation.arrays import Floats, Ints, compiled, is_compiled_for

COMPILED_FROM = 200_000
"""Matches from which loading numba and the compiled loops is worth it."""
LOADED_FROM = 20_000
"""The same where numba is loaded."""


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

    The docstring of evenly.curation.balance.thresholds has the formula.
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
