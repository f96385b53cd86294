"""The loops over codes and their buckets, compiled. Import it late: it loads numba."""

import numpy as np
import numpy.typing as npt

from evenly.curation.compiled import compiled
from evenly.curation.duplicates.lsh import Ints, Words
from evenly.curation.duplicates.pair_kernels import agree_under_any, differing_bits

_SHIFT = np.uint64(33)
_FACTORS = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)


@compiled
def bucket_keys(codes: Words, mask: Words, keys: Words) -> None:
    """Write a number (n,) for each row of `codes` (n, w): rows that agree under `mask` (w,) share it.

    Its bits are spread over the whole word, as those of evenly.curation.duplicates.lsh.mixed.
    """
    for row in range(len(codes)):
        key = np.uint64(0)
        for word in range(len(mask)):
            if mask[word] != 0:
                key ^= codes[row, word] & mask[word]
                key = (key ^ (key >> _SHIFT)) * _FACTORS[0]
                key = (key ^ (key >> _SHIFT)) * _FACTORS[1]
                key ^= key >> _SHIFT
        keys[row] = key


@compiled
def emit_pairs(  # noqa: PLR0917 - compiled code takes no keywords
    order: Ints,
    keys: Words,
    codes: Words,
    fresh: npt.NDArray[np.bool_],
    earlier: Words,
    limit: int,
    place: Ints,
    left: Ints,
    right: Ints,
) -> int:
    """Write pairs with equal `keys` and a `fresh` row that agree under no `earlier` mask, at most `limit` bits apart.

    `keys` are sorted and belong to the rows `order`; of equal keys, those of fresh rows come first. `place` is where to
    go on. Returns how many pairs were written.
    """
    count = 0
    i, j = place[0], place[1]
    while i < len(order):
        while fresh[order[i]] and j < len(order) and keys[j] == keys[i]:
            if count == len(left):
                place[0], place[1] = i, j
                return count
            a, b = min(order[i], order[j]), max(order[i], order[j])
            if differing_bits(codes[a], codes[b]) <= limit and not agree_under_any(codes[a], codes[b], earlier):
                left[count], right[count] = a, b
                count += 1
            j += 1
        i += 1
        j = i + 1
    place[0], place[1] = i, j
    return count
