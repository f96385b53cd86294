"""What `balancing.balance` decides of pairs in one phase, without the table of all that it looked at.

For pools of many rows, which need each row's chance, fate, deciding entry and draw alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints
from evenly.curation.balance.balancing import NO_ENTRY, STEP
from evenly.curation.balance.keep_probability import COMPILED_FROM, UNIT
from evenly.curation.balance.matched_pairs import MatchedPairs
from evenly.curation.balance.thresholds import Law
from evenly.curation.compiled import compiled
from evenly.curation.draws import draws_at


@dataclass(frozen=True, eq=False, kw_only=True)
class Fates:
    """Of n pairs: P(stay) (n,), the entry that kept each (n,) int32, -1 where it goes, and that entry's draw (n,).

    draws: nan where a pair goes, or stays without a draw.
    """

    chances: Floats
    deciding: npt.NDArray[np.int32]
    draws: Floats

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether each pair stays (n,)."""
        kept: npt.NDArray[np.bool_] = self.deciding >= 0
        return kept

    def units(self, pairs: MatchedPairs) -> Ints:
        """How many of these pairs are expected to stay, per language (L,), in units of 2**-30."""
        units = np.zeros(len(pairs.languages), dtype=np.int64)
        np.add.at(units, pairs.language, np.rint(self.chances / UNIT).astype(np.int64))
        return units


def decide_fates(pairs: MatchedPairs, probabilities: Floats, *, law: Law, seed: int) -> Fates:
    """Decide which of the pairs stay, by the probabilities (L, E) of entries; all texts are judged."""
    n = len(pairs)
    chances, certain = np.empty(n), np.empty(n, dtype=np.int32)
    _fast(len(pairs.numbers))(pairs.ends, pairs.numbers, pairs.language, probabilities, chances, certain)
    by_draw = (certain < 0) & (pairs.lengths > 0)
    matches = np.flatnonzero(np.repeat(by_draw, pairs.lengths))
    drawn = np.flatnonzero(by_draw)
    rows, numbers = np.repeat(drawn, pairs.lengths[drawn]), pairs.numbers[matches].astype(np.int64)
    p = probabilities[pairs.language[rows], numbers]
    if law == "v1":
        u = draws_at(seed=seed, step=STEP, uids=pairs.uids, rows=rows, entries=pairs.concepts, numbers=numbers)
        fired = u < p
        rank = u[fired]
    else:
        nothing = np.zeros(len(drawn), dtype=np.int64)
        of_each = draws_at(
            seed=seed, step=STEP, uids=pairs.uids, rows=drawn, entries=pa.array([NO_ENTRY]), numbers=nothing
        )
        u = np.repeat(of_each, pairs.lengths[drawn])
        fired = u < chances[rows]
        rank = -p[fired]
    at = np.flatnonzero(fired)[np.lexsort((rank, rows[fired]))]
    first = at[np.diff(rows[at], prepend=-1) > 0]
    draws = np.full(n, np.nan)
    draws[rows[first]] = u[first]
    certain[rows[first]] = numbers[first]
    return Fates(chances=chances, deciding=certain, draws=draws)


def _fast(n_matches: int) -> Callable[..., None]:
    return compiled(_scan) if n_matches >= COMPILED_FROM else _scan


def _scan(ends, numbers, language, probabilities, chances, certain) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001, PLR0917
    """Fill P of each pair, as `keep_probability` does, and its first entry of p = 1, -1 for none."""
    for row in range(len(chances)):
        none, first = 1.0, -1
        for at in range(ends[row], ends[row + 1]):
            p = probabilities[language[row], numbers[at]]
            none *= 1.0 - p
            if first < 0 and p >= 1.0:
                first = numbers[at]
        chances[row] = min(1.0 - none, 1.0)
        certain[row] = first
