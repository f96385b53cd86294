"""The loops over pairs of rows, compiled. Import it late: it loads numba.

Each loop writes pairs into arrays that it is given and stops where these are full; called again, it goes on.
"""

import numpy as np
import numpy.typing as npt

from curation.candidates import Ints, Words
from curation.compiled import compiled

_ODD, _PAIRS, _NIBBLES, _ONES = (
    np.uint64(number) for number in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)
)
_BY = tuple(np.uint64(bits) for bits in (1, 2, 4, 56))
_AT_ONCE = 64
_CELLS = 16  # cells of a block, whose colours are kept as sums


@compiled
def differing_bits(one: Words, other: Words) -> int:
    """The number of bits (0 to 64 w) in which two codes (w,) differ."""
    count = 0
    for word in range(len(one)):
        bits = one[word] ^ other[word]
        bits -= (bits >> _BY[0]) & _ODD
        bits = (bits & _PAIRS) + ((bits >> _BY[1]) & _PAIRS)
        bits = (bits + (bits >> _BY[2])) & _NIBBLES
        count += int(np.int64((bits * _ONES) >> _BY[3]))
    return count


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


@compiled
def join_nodes(  # noqa: PLR0917 - compiled code takes no keywords
    rows: Ints,
    spans: Ints,
    low: npt.NDArray[np.int32],
    high: npt.NDArray[np.int32],
    stack: Ints,
    top: Ints,
    colours: npt.NDArray[np.uint8],
    max_colour: int,
    codes: Words,
    max_distance: int,
    left: Ints,
    right: Ints,
) -> int:
    """Go on with the pairs of nodes on the stack until it is empty or `left` may overflow; how many pairs were written.

    Node k holds rows[spans[k, 0]:spans[k, 1]] within the box low[k] to high[k]; its children are 2 k + 1 and 2 k + 2.
    """
    count = 0
    while top[0] > 0:
        a, b = stack[top[0] - 1, 0], stack[top[0] - 1, 1]
        if a != b and boxes_apart(low[a], high[a], low[b], high[b], max_colour * _CELLS):
            top[0] -= 1
        elif 2 * a + 2 < len(low):
            push_children(a, b, stack, top)
        else:
            size = (spans[a, 1] - spans[a, 0]) * (spans[b, 1] - spans[b, 0])
            if count + size > len(left):
                return count
            top[0] -= 1
            for i in range(spans[a, 0], spans[a, 1]):
                for j in range(i + 1 if a == b else spans[b, 0], spans[b, 1]):
                    x, y = min(rows[i], rows[j]), max(rows[i], rows[j])
                    if differing_bits(codes[x], codes[y]) <= max_distance and within(
                        colours[x], colours[y], max_colour
                    ):
                        left[count], right[count] = x, y
                        count += 1
    return count


@compiled
def boxes_apart(
    low: npt.NDArray[np.int32],
    high: npt.NDArray[np.int32],
    other_low: npt.NDArray[np.int32],
    other_high: npt.NDArray[np.int32],
    limit: int,
) -> bool:
    """Whether two boxes (d,) are more than `limit` apart along any axis."""
    for axis in range(len(low)):  # noqa: SIM110 - no generators in compiled code
        if low[axis] - other_high[axis] > limit or other_low[axis] - high[axis] > limit:
            return True
    return False


@compiled
def push_children(a: int, b: int, stack: Ints, top: Ints) -> None:
    """Put the pairs of children of two nodes of one depth on the stack, in place of the pair on its top."""
    at = top[0] - 1
    for one in range(2 * a + 1, 2 * a + 3):
        for other in range(one if a == b else 2 * b + 1, 2 * b + 3):
            stack[at, 0], stack[at, 1] = one, other
            at += 1
    top[0] = at


@compiled
def within(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], limit: int) -> bool:
    """Whether no value of two rows differs by more than `limit`."""
    for begin in range(0, len(one), _AT_ONCE):
        # Bytes only, and no way out of the inner loop: it becomes vectors, and is thirty times as fast.
        some, others = one[begin : begin + _AT_ONCE], other[begin : begin + _AT_ONCE]
        most = np.uint8(0)
        for place in range(len(some)):
            apart = np.uint8(max(some[place], others[place]) - min(some[place], others[place]))
            most = np.uint8(max(most, apart))
        if most > limit:
            return False
    return True
