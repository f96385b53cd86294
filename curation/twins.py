"""Which pictures are close: exact search over all pairs in blocks, so that memory stays bounded."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
BLOCK = 2048


def close_hashes(hashes: npt.NDArray[np.uint64], max_distance: int) -> tuple[Ints, Ints]:
    """Return all (i, j), i < j, of `hashes` (n,) that differ in at most `max_distance` of 64 bits."""

    def near(rows: slice, others: slice) -> npt.NDArray[np.bool_]:
        return np.asarray(np.bitwise_count(hashes[rows, None] ^ hashes[None, others]) <= max_distance)

    return _all_pairs(len(hashes), near)


def close_rows(rows: npt.NDArray[np.float16], min_cosine: float) -> tuple[Ints, Ints]:
    """Return all (i, j), i < j, of unit `rows` (n, d) whose `cosines` reach `min_cosine`.

    Candidates come from products in single precision; each is then measured by itself, so that a pair's cosine does
    not depend on the block it fell in.
    """
    wide = rows.astype(np.float32)

    def near(some: slice, others: slice) -> npt.NDArray[np.bool_]:
        return np.asarray(wide[some] @ wide[others].T >= min_cosine - 1e-3)

    left, right = _all_pairs(len(rows), near)
    reach = cosines(rows, left, right) >= min_cosine
    return left[reach], right[reach]


def hash_distances(hashes: npt.NDArray[np.uint64], left: Ints, right: Ints) -> Floats:
    """Return the number of differing bits (n,) of pairs of hashes, 0 to 64."""
    return np.asarray(np.bitwise_count(hashes[left] ^ hashes[right]), dtype=np.float64)


def cosines(rows: npt.NDArray[np.float16], left: Ints, right: Ints) -> Floats:
    """Return the cosine (n,) of pairs of unit rows, rounded to 4 digits."""
    return _in_parts(left, right, lambda a, b: np.round((rows[a].astype(np.float64) * rows[b]).sum(axis=1), 4))


def colour_distances(colours: npt.NDArray[np.uint8], left: Ints, right: Ints) -> Floats:
    """Return the largest difference (n,) in any cell and channel of pairs of colour grids, 0 to 255.

    The largest, not the mean: a changed skin tone or stripe changes a few cells much, re-encoding all cells a little.
    """

    def largest(a: Ints, b: Ints) -> Floats:
        return np.asarray(np.abs(colours[a].astype(np.int16) - colours[b]).max(axis=1), dtype=np.float64)

    return _in_parts(left, right, largest)


def _all_pairs(n: int, near: Callable[[slice, slice], npt.NDArray[np.bool_]]) -> tuple[Ints, Ints]:
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for rows, others in _blocks(n):
        i, j = np.nonzero(near(rows, others))
        i, j = i + rows.start, j + others.start
        found.append((i[i < j], j[i < j]))
    left, right = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return left, right


def _blocks(n: int) -> Iterator[tuple[slice, slice]]:
    for first in range(0, n, BLOCK):
        for second in range(first, n, BLOCK):
            yield slice(first, first + BLOCK), slice(second, second + BLOCK)


def _in_parts(left: Ints, right: Ints, measure: Callable[[Ints, Ints], Floats]) -> Floats:
    measured = np.empty(len(left))
    for start in range(0, len(left), BLOCK):
        part = slice(start, start + BLOCK)
        measured[part] = measure(left[part], right[part])
    return measured
