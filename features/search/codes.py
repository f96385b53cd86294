"""Binary codes: a bit for each column, on which side of the centre a row lies; between near rows few bits differ."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from evenly.features.unit_rows import Half, Single

Codes = npt.NDArray[np.uint8]
_WORD = 8  # bytes that are compared at once


def binary_codes(rows: npt.NDArray[np.floating], centre: Single) -> Codes:
    """The codes (n, b) of rows (n, d): the signs of their columns less the `centre` (d,), padded to 64 bits."""
    bits = np.packbits(rows > centre, axis=1)
    return np.pad(bits, ((0, 0), (0, -bits.shape[1] % _WORD)))


def shortlists(queries: Codes, blocks: Iterable[Codes], m: int) -> list[npt.NDArray[np.int64]]:
    """For each query (q, b) the places (m,) of the codes in which the fewest bits differ; of equal ones the first.

    In that order, so that fewer are the beginning of more. The blocks (n, b) follow one another, each held alone and
    compared with all queries.
    """
    nearest = [(np.zeros(0, np.int64), np.zeros(0, np.uint16)) for _ in queries]
    start = 0
    for block in blocks:
        words = block.view(np.uint64)
        for number, query in enumerate(queries.view(np.uint64)):
            differing = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.uint16)
            block_places = _fewest(differing, m)
            places = np.concatenate([nearest[number][0], block_places + start])
            distances = np.concatenate([nearest[number][1], differing[block_places]])
            order = np.argsort(distances, kind="stable")[:m]
            nearest[number] = (places[order], distances[order])
        start += len(block)
    return [places for places, _ in nearest]


def centre_of(blocks: Iterable[Half]) -> Single:
    """The mean (d,) of rows that come in blocks (n, d); at least one row."""
    total: npt.NDArray[np.float64] | float = 0.0
    count = 0
    for block in blocks:
        total = total + block.sum(axis=0, dtype=np.float64)
        count += len(block)
    return np.asarray(total / count, np.float32)


def _fewest(distances: npt.NDArray[np.uint16], m: int) -> npt.NDArray[np.int64]:
    """The places of the `m` smallest, in ascending order of place; of equal ones the first."""
    if len(distances) <= m:
        return np.arange(len(distances))
    limit = np.partition(distances, m - 1)[m - 1]
    below = np.flatnonzero(distances < limit)
    equal = np.flatnonzero(distances == limit)[: m - len(below)]
    return np.sort(np.concatenate([below, equal]))
