"""The chance that a pair stays, and how many are expected to: one formula for both laws of balancing.

A pair that matches entries with probabilities p_e stays with P = 1 - prod(1 - p_e) (MetaCLIP, arXiv:2309.16671; both
its versions). Over two phases the first had let it through with `before`. By the entries that it matched then it
stays with P_known <= before, since the draws are the same; by those that only a new caption matches it stays
independently: before - (before - P_known) * prod(1 - p_new).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.compiled import compiled

COMPILED_FROM = 20_000
"""Matches from which loading the compiled loop is worth it."""
UNIT = 2.0**-30
"""Expected pairs are summed in whole units: exactly, so in any order, below 8e9 pairs."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Earlier:
    """What the preselection had said of its survivors.

    chances (n,): P of each pair there. limits (m,): the probability of each match there, above which it may not rise;
    infinite for an entry that the pair matches since.
    """

    chances: Floats
    limits: Floats

    def part(self, rows: slice, matches: slice) -> "Earlier":
        """The same of some pairs and their matches."""
        return Earlier(chances=self.chances[rows], limits=self.limits[matches])


def stay_chances(pairs: MatchedPairs, probabilities: Floats, earlier: Earlier | None = None) -> Floats:
    """Return P (n,) of each pair from the probabilities (L, E) of entries; 0 for a pair without matches.

    Whether a pair's text is taken at all (`pairs.shares`) does not enter.
    """
    before = np.ones(len(pairs)) if earlier is None else earlier.chances
    limits = np.empty(0) if earlier is None else earlier.limits
    chances = np.empty(len(pairs))
    _fast(len(pairs.numbers))(pairs.ends, pairs.numbers, pairs.language, probabilities, limits, before, chances)
    return chances


def expected_units(pairs: MatchedPairs, probabilities: Floats, earlier: Earlier | None = None) -> Ints:
    """Return how many of these pairs are expected to stay, per language (L,), in units of 2**-30.

    Of parts of the pairs, they add up exactly.
    """
    units = np.zeros(len(pairs.languages), dtype=np.int64)
    for rows, matches, part in pairs.batches():
        before = None if earlier is None else earlier.part(rows, matches)
        chances = stay_chances(part, probabilities, before) * part.shares
        if before is not None:
            chances /= before.chances
        whole = np.rint(chances / UNIT).astype(np.int64)
        if len(units) == 1:
            units += whole.sum()
        else:
            np.add.at(units, part.language, whole)
    return units


def _fast(n_matches: int) -> Callable[..., None]:
    return compiled(_fill) if n_matches >= COMPILED_FROM else _fill


def _fill(ends, numbers, language, probabilities, limits, before, chances) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, PLR0917
    for row in range(len(chances)):
        by_known, by_new = 1.0, 1.0
        for at in range(ends[row], ends[row + 1]):
            p = probabilities[language[row], numbers[at]]
            if len(limits) and np.isinf(limits[at]):
                by_new *= 1.0 - p
            else:
                by_known *= 1.0 - (min(p, limits[at]) if len(limits) else p)
        known = min(1.0 - by_known, before[row])
        chances[row] = known if by_new == 1.0 else before[row] - (before[row] - known) * by_new
