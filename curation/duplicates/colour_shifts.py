"""Twins of which one was brightened, saturated or turned in hue as a whole.

Their grids differ by more than the limit, yet one change of one number makes the one the other, which it does not for
another skin tone or flag: there, some colours changed and others did not.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from evenly.curation.duplicates.colours import Bytes
from evenly.curation.duplicates.distances import colour_distances
from evenly.curation.duplicates.lsh import Ints, Words, candidate_pairs

FAMILIES = ("", "brightness", "saturation", "hue")
BRIGHTNESS, SATURATION = (80, 120, 1), (50, 150, 2)  # percent: first, last, step; also the other way round
HUE = (-21, 21, 1)  # degrees
SHIFTED_BITS = 4  # shifts hardly change the grey that the hash is of
_PLAIN = 64  # levels; colours of a picture that spans fewer say little about what it shows


def shifted_pairs(
    colours: Bytes, max_colour: float, max_shifted: float, hashes: Words, max_distance: int
) -> Iterator[tuple[Ints, Ints]]:
    """Yield all pairs (i, j), i < j, whose hashes differ in at most `max_distance` bits and whose grids by a shift.

    `colours` (n, 768) are 16 x 16 RGB grids that differ by more than `max_colour` in some value as they are, and after
    a change by at most `max_shifted`. Rows whose values span fewer than 64 levels have no such twins. Hashes (n,)
    within `max_distance` bits agree in two of `max_distance` + 2 blocks of bits, so none is missed.
    """
    telling = np.flatnonzero(np.ptp(colours, axis=1) >= _PLAIN) if len(colours) else np.empty(0, np.int64)
    for some, others in candidate_pairs(
        hashes[telling].reshape(-1, 1), _pairs_of_blocks(max_distance + 2), max_distance=max_distance
    ):
        left, right = telling[some], telling[others]
        apart = colour_distances(colours, left, right) > max_colour
        left, right = left[apart], right[apart]
        twins = find_shifts(colours, left, right, max_shifted)[0] > 0
        if twins.any():
            yield left[twins], right[twins]


def find_shifts(colours: Bytes, left: Ints, right: Ints, limit: float) -> tuple[Ints, Ints]:
    """Return the place in FAMILIES (n,) of the change that makes pairs of grids most alike, and the levels left (n,).

    The place is 0 where every change leaves more than `limit` in some value.
    """
    from evenly.curation.duplicates.shift_kernels import find_shifts as find

    family, rest = np.zeros(len(left), dtype=np.int64), np.zeros(len(left), dtype=np.int64)
    find(colours, left, right, limit, family, rest)
    return family, rest


def _pairs_of_blocks(count: int) -> Words:
    """Return masks (t, 1) for all pairs of `count` blocks, each of every so many-th bit of 64."""
    blocks = [sum(1 << bit for bit in range(first, 64, count)) for first in range(count)]
    return np.array([[one | other] for one, other in combinations(blocks, 2)], dtype=np.uint64)
