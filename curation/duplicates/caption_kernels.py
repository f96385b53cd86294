"""The loops over captions as sets of shingles, compiled. Import it late: it loads numba."""

import numpy as np
import numpy.typing as npt

from evenly.curation.compiled import compiled
from evenly.curation.duplicates.lsh import Ints, Words

_SHIFTS = tuple(np.uint64(bits) for bits in (42, 21, 33))
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_MOST = np.uint64(2**64 - 1)


@compiled
def shingle(letters: npt.NDArray[np.uint32], ends: Ints, shingles: Words, shingle_ends: Ints) -> None:
    """Write the sorted distinct runs of three letters of each text, one number each, and where they end."""
    begin, written = 0, 0
    for text in range(len(ends)):
        count = max(ends[text] - begin - 2, 0)
        own = np.empty(count, dtype=np.uint64)
        for at in range(count):
            first, second, third = letters[begin + at], letters[begin + at + 1], letters[begin + at + 2]
            own[at] = (np.uint64(first) << _SHIFTS[0]) | (np.uint64(second) << _SHIFTS[1]) | np.uint64(third)
        own.sort()
        for at in range(count):
            if at == 0 or own[at] != own[at - 1]:
                shingles[written] = own[at]
                written += 1
        shingle_ends[text] = written
        begin = ends[text]


@compiled
def band(shingles: Words, ends: Ints, factors: Words, offsets: Words, bands: Words) -> None:
    """Write the keys (n, b) of the bands of each set's MinHash signature; `factors` (b, r) are odd, as `offsets`."""
    begin = 0
    for row in range(len(ends)):
        for number in range(factors.shape[0]):
            key = np.uint64(0)
            for place in range(factors.shape[1]):
                least = _MOST
                for at in range(begin, ends[row]):
                    least = min(least, spread(shingles[at]) * factors[number, place] + offsets[number, place])
                key = spread(key ^ least)
            bands[row, number] = key
        begin = ends[row]


@compiled
def spread(word: np.uint64) -> np.uint64:
    """A 64-bit number whose bits are spread over the whole word: the finalizer of MurmurHash3."""
    word = (word ^ word >> _SHIFTS[2]) * _MIX[0]
    word = (word ^ word >> _SHIFTS[2]) * _MIX[1]
    return word ^ word >> _SHIFTS[2]


@compiled
def intersect(  # noqa: PLR0917 - compiled code takes no keywords
    shingles: Words, ends: Ints, left: Ints, right: Ints, least: float, common: Ints
) -> None:
    """Write how many shingles each pair of rows has in common; 0 where the Jaccard index is below `least`."""
    for pair in range(len(left)):
        a = ends[left[pair] - 1] if left[pair] else 0
        b = ends[right[pair] - 1] if right[pair] else 0
        size, more = ends[left[pair]] - a, ends[right[pair]] - b
        others = int((size + more) * (1 - least) / (1 + least) + 1e-6)  # what may be in one of the two only
        if abs(size - more) > others:
            others = -1
        count = 0
        while a < ends[left[pair]] and b < ends[right[pair]] and others >= 0:
            if shingles[a] == shingles[b]:
                count += 1
                a += 1
                b += 1
            elif shingles[a] < shingles[b]:
                others -= 1
                a += 1
            else:
                others -= 1
                b += 1
        others -= ends[left[pair]] - a + ends[right[pair]] - b
        common[pair] = count if others >= 0 else 0
