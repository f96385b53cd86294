"""The chance that a pair stays, and how many are expected to: one formula for both laws of balancing.

A pair that matches entries with probabilities p_e stays with P = 1 - prod(1 - p_e) (MetaCLIP, arXiv:2309.16671; both
its versions). Over two phases, P_before is its P in the preselection. By the entries that it matched then it
stays with P_known <= P_before, since the draws are the same; by those that only a new caption matches it stays
independently: P_before - (P_before - P_known) * prod(1 - p_new).
"""

from dataclasses import dataclass

import numpy as np

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.kernels import loops_for
from evenly.curation.balance.matched_pairs import MatchedPairs

UNIT = 2.0**-30
"""Expected pairs are summed in whole units: exactly, so in any order, below 8e9 pairs."""


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
