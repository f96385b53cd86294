"""The law of balancing: the chance of each pair to stay, the draws that are made, and the match that keeps the pair.

`balancing.balance` makes its table of draws from it; pools of many rows need no more than it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.arrays import Flags, Floats, Ints
from evenly.curation.balance.keep_probability import UNIT, PreselectionLimits
from evenly.curation.balance.kernels import loops_for
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.balance.thresholds import Law
from evenly.curation.draws import draws_at

STEP = "balance"
NO_ENTRY = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class RowDecisions:
    """The decisions on n pairs with m matches.

    chances (n,): P(stay), given that the pair's text is judged. deciding (n,): the match that keeps each pair, -1 where
    it goes. draws (k,): all that were made, pair by pair, `n_draws` (n,) of each. deciding_draws (n,): the draw of the
    deciding match, nan where a pair goes or stays without a draw.
    """

    chances: Floats
    deciding: Ints
    draws: Floats
    n_draws: Ints
    deciding_draws: Floats

    @property
    def kept(self) -> Flags:
        """Whether each pair stays (n,)."""
        kept: Flags = self.deciding >= 0
        return kept

    def deciding_entries(self, pairs: MatchedPairs) -> npt.NDArray[np.int32]:
        """The entry that keeps each of the pairs (n,), -1 where it goes."""
        return np.append(pairs.numbers, np.int32(-1))[self.deciding]

    def units(self, pairs: MatchedPairs) -> Ints:
        """How many of these pairs are expected to stay, per language (L,), in units of 2**-30."""
        units = np.zeros(len(pairs.languages), dtype=np.int64)
        np.add.at(units, pairs.language, np.rint(self.chances / UNIT).astype(np.int64))
        return units


def decide_rows(
    pairs: MatchedPairs,
    probabilities: Floats,
    *,
    law: Law,
    seed: int,
    earlier: PreselectionLimits | None = None,
) -> RowDecisions:
    """Decide which of the pairs stay, by the probabilities (L, E) of entries; a text that was not picked goes.

    A pair with a match of p = 1 stays by the first of these without a draw.
    """
    n, lengths = len(pairs), pairs.lengths
    limits, ceilings = (np.empty(0), np.ones(n)) if earlier is None else (earlier.limits, earlier.chances)
    loops, flat = loops_for(len(pairs.numbers)), (pairs.ends, pairs.numbers, pairs.language, probabilities, limits)
    chances, deciding = np.empty(n), np.empty(n, dtype=np.int64)
    loops.fill_chances(*flat, ceilings, chances, deciding)
    deciding[~pairs.chosen] = -1
    by_draw = pairs.chosen & (lengths > 0) & (deciding < 0)
    rows = np.flatnonzero(by_draw)
    entries, numbers, n_draws = pa.array([NO_ENTRY]), np.zeros(len(rows), dtype=np.int64), by_draw.astype(np.int64)
    if law == "v1":
        entries, numbers = pairs.concepts, pairs.numbers[np.repeat(by_draw, lengths)].astype(np.int64)
        rows, n_draws = np.repeat(rows, lengths[rows]), np.where(by_draw, lengths, 0)
    draws = draws_at(seed=seed, step=STEP, uids=pairs.uids, rows=rows, entries=entries, numbers=numbers)
    deciding_draws = np.full(n, np.nan)
    loops.choose_matches(*flat, chances, n_draws, draws, law == "v1", deciding, deciding_draws)
    return RowDecisions(chances=chances, deciding=deciding, draws=draws, n_draws=n_draws, deciding_draws=deciding_draws)
