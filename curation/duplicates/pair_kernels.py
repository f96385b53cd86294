"""How far two codes are apart, compiled. Import it late: it loads numba."""

import numpy as np

from evenly.curation.compiled import compiled
from evenly.curation.duplicates.lsh import Words

_ODD, _PAIRS, _NIBBLES, _ONES = (
    np.uint64(number) for number in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)
)
_BY = tuple(np.uint64(bits) for bits in (1, 2, 4, 56))


@compiled
def differing_bits(one: Words, other: Words) -> int:
    """The number of bits (0 to 64 w) in which two codes (w,) differ."""
    count = 0
    for word in range(len(one)):
        count += word_bits(one[word], other[word])
    return count


@compiled
def word_bits(one: np.uint64, other: np.uint64) -> int:
    """The number of bits (0 to 64) in which two words differ."""
    bits = one ^ other
    bits -= (bits >> _BY[0]) & _ODD
    bits = (bits & _PAIRS) + ((bits >> _BY[1]) & _PAIRS)
    bits = (bits + (bits >> _BY[2])) & _NIBBLES
    return int(np.int64((bits * _ONES) >> _BY[3]))


@compiled
def agree_under_any(one: Words, other: Words, masks: Words) -> bool:
    """Whether two codes (w,) agree in all bits of at least one of `masks` (t, w)."""
    for mask in masks:
        agrees = True
        for word in range(len(one)):
            if (one[word] ^ other[word]) & mask[word] != 0:
                agrees = False
                break
        if agrees:
            return True
    return False
