"""The loops of the search by looks, compiled. Import it late: it loads numba.

Rows here are sketches: WIDTH bytes, some of the values of a colour grid. Node k of a tree holds the rows
spans[k, 0] to spans[k, 1] within the box low[k] to high[k]; its children are 2 k + 1 and 2 k + 2.
"""

import numpy as np

from evenly.curation.compiled import compiled
from evenly.curation.duplicates.colours import WIDTH, Bytes
from evenly.curation.duplicates.lsh import Ints, Words
from evenly.curation.duplicates.pair_kernels import word_bits

_SEEN = 256  # rows of a node that tell how much its values spread


@compiled
def grow_tree(sketches: Bytes, rows: Ints, spans: Ints, narrow: float) -> None:
    """Fill the `spans` of a tree over `sketches` and bring `rows` into its order: each node is halved along one value.

    That is the first whose variance is at least `narrow`, or the largest: the same values are split again and again
    until boxes are narrow in them, for two boxes are apart only where both are narrow in one value.
    """
    spans[0, 0], spans[0, 1] = 0, len(rows)
    starts, order = np.empty(257, np.int64), np.empty(len(rows), np.int64)
    for node in range(len(spans) // 2):
        begin, end = spans[node, 0], spans[node, 1]
        place = _place_to_split(sketches, rows, begin, end, narrow)
        starts[:] = 0
        for at in range(begin, end):
            starts[sketches[rows[at], place] + 1] += 1
        for level in range(256):
            starts[level + 1] += starts[level]
        for at in range(begin, end):
            level = sketches[rows[at], place]
            order[starts[level]] = rows[at]
            starts[level] += 1
        rows[begin:end] = order[: end - begin]
        half = begin + (end - begin) // 2
        spans[2 * node + 1, 0], spans[2 * node + 1, 1] = begin, half
        spans[2 * node + 2, 0], spans[2 * node + 2, 1] = half, end


@compiled
def _place_to_split(sketches: Bytes, rows: Ints, begin: int, end: int, narrow: float) -> int:
    step = max(1, (end - begin) // _SEEN)
    widest, best = -1.0, 0
    for place in range(WIDTH):
        count, total, squares = 0, np.int64(0), np.int64(0)
        for at in range(begin, end, step):
            level = np.int64(sketches[rows[at], place])
            count += 1
            total += level
            squares += level * level
        variance = (squares - total * total / count) / count
        if variance >= narrow:
            return place
        if variance > widest:
            widest, best = variance, place
    return best


@compiled
def fill_boxes(sketches: Bytes, spans: Ints, low: Bytes, high: Bytes) -> None:
    """Fill the boxes of all nodes; `sketches` are in the order of the tree."""
    for node in range(len(spans) - 1, -1, -1):
        if 2 * node + 2 < len(spans):
            for place in range(WIDTH):
                low[node, place] = min(low[2 * node + 1, place], low[2 * node + 2, place])
                high[node, place] = max(high[2 * node + 1, place], high[2 * node + 2, place])
            continue
        low[node], high[node] = 255, 0
        for row in range(spans[node, 0], spans[node, 1]):
            for place in range(WIDTH):
                low[node, place] = min(low[node, place], sketches[row, place])
                high[node, place] = max(high[node, place], sketches[row, place])


@compiled
def join_nodes(  # noqa: PLR0917 - compiled code takes no keywords
    rows: Ints,
    spans: Ints,
    low: Bytes,
    high: Bytes,
    stack: Ints,
    top: Ints,
    sketches: Bytes,
    hashes: Words,
    max_distance: int,
    colours: Bytes,
    max_colour: int,
    left: Ints,
    right: Ints,
) -> int:
    """Go on with the pairs of nodes on the stack until it is empty or `left` may overflow; how many pairs were written.

    `sketches` and `hashes` are in the order of the tree, which `rows` tells; `colours` are in their own.
    """
    count, most = 0, spans[-1, 1] - spans[-1, 0]  # the last leaf is the largest
    near, codes = np.empty((2, most + 1), np.int64), np.empty((2, most + 1), np.uint64)
    while top[0] > 0:
        a, b = stack[top[0] - 1, 0], stack[top[0] - 1, 1]
        if a != b and _boxes_apart(low[a], high[a], low[b], high[b], max_colour):
            top[0] -= 1
            continue
        if 2 * a + 2 < len(low):
            _push_children(a, b, stack, top)
            continue
        n = _near_box(sketches, hashes, spans[a], low[b], high[b], max_colour, near[0], codes[0])
        m = _near_box(sketches, hashes, spans[b], low[a], high[a], max_colour, near[1], codes[1])
        if count + n * m > len(left):
            return count
        top[0] -= 1
        for one in range(n):
            if not _any_near(codes[0, one], codes[1, :m], max_distance):
                continue
            i = near[0, one]
            for other in range(m):
                j = near[1, other]
                if (a != b or i < j) and word_bits(hashes[i], hashes[j]) <= max_distance:
                    x, y = min(rows[i], rows[j]), max(rows[i], rows[j])
                    if _within(sketches[i], sketches[j], max_colour) and _within(colours[x], colours[y], max_colour):
                        left[count], right[count] = x, y
                        count += 1
    return count


@compiled
def _boxes_apart(low: Bytes, high: Bytes, other_low: Bytes, other_high: Bytes, limit: int) -> bool:
    """Whether two boxes are more than `limit` apart in any value."""
    # Here and below: bytes only, a fixed length and no way out of the loop, so that it becomes a few vectors.
    most = np.uint8(0)
    for place in range(WIDTH):
        above = np.uint8(max(low[place], other_high[place]) - other_high[place])
        below = np.uint8(max(other_low[place], high[place]) - high[place])
        most = np.uint8(max(most, above, below))
    return bool(most > limit)


@compiled
def _push_children(a: int, b: int, stack: Ints, top: Ints) -> None:
    """Put the pairs of children of two nodes of one depth on the stack, in place of the pair on its top."""
    at = top[0] - 1
    for one in range(2 * a + 1, 2 * a + 3):
        for other in range(one if a == b else 2 * b + 1, 2 * b + 3):
            stack[at, 0], stack[at, 1] = one, other
            at += 1
    top[0] = at


@compiled
def _near_box(  # noqa: PLR0917 - compiled code takes no keywords
    sketches: Bytes, hashes: Words, span: Ints, low: Bytes, high: Bytes, limit: int, near: Ints, codes: Words
) -> int:
    """Write the rows of a span that are within `limit` of a box, and their hashes; how many."""
    count = 0
    for row in range(span[0], span[1]):
        most = np.uint8(0)
        for place in range(WIDTH):
            level = sketches[row, place]
            above = np.uint8(max(level, high[place]) - high[place])
            below = np.uint8(max(low[place], level) - level)
            most = np.uint8(max(most, above, below))
        near[count], codes[count] = row, hashes[row]
        count += int(most <= limit)
    return count


@compiled
def _any_near(code: np.uint64, codes: Words, limit: int) -> bool:
    """Whether any of `codes` differs in at most `limit` bits."""
    count = 0
    for other in codes:
        count += word_bits(code, other) <= limit
    return count > 0


@compiled
def _within(one: Bytes, other: Bytes, limit: int) -> bool:
    """Whether no value of two rows, of a multiple of WIDTH values, differs by more than `limit`."""
    for begin in range(0, len(one), WIDTH):
        most = np.uint8(0)
        for place in range(begin, begin + WIDTH):
            apart = np.uint8(max(one[place], other[place]) - min(one[place], other[place]))
            most = np.uint8(max(most, apart))
        if most > limit:
            return False
    return True
