"""Distances between pictures: each pair is measured by itself, never as part of a block."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evenly.curation.arrays import Bytes, Floats, Ints, Words

_PART = 2048


def hash_distances(hashes: Words, left: Ints, right: Ints) -> Floats:
    """Return the number of differing bits (n,) of pairs of hashes, 0 to 64."""
    return np.asarray(np.bitwise_count(hashes[left] ^ hashes[right]), dtype=np.float64)


def cosines(rows: npt.NDArray[np.float16], left: Ints, right: Ints) -> Floats:
    """Return the cosine (n,) of pairs of unit rows, rounded to 4 digits."""
    return _in_parts(left, right, lambda a, b: np.round((rows[a].astype(np.float64) * rows[b]).sum(axis=1), 4))


def colour_distances(colours: Bytes, left: Ints, right: Ints) -> Floats:
    """Return the largest difference (n,) in any cell and channel of pairs of colour grids, 0 to 255.

    The largest, not the mean: a changed skin tone or stripe changes a few cells much, re-encoding all cells a little.
    """

    def largest(a: Ints, b: Ints) -> Floats:
        return np.asarray(np.abs(colours[a].astype(np.int16) - colours[b]).max(axis=1), dtype=np.float64)

    return _in_parts(left, right, largest)


def _in_parts(left: Ints, right: Ints, measure: Callable[[Ints, Ints], Floats]) -> Floats:
    measured = np.empty(len(left))
    for start in range(0, len(left), _PART):
        part = slice(start, start + _PART)
        measured[part] = measure(left[part], right[part])
    return measured
