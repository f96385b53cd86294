"""Compiled loops of the search for duplicates. Import it late: it loads numba.

In this order: bits in which codes differ; pairs of rows within one bucket; captions as sets of shingles; a tree over
sketches of colour grids, for rows that look alike; and changes of colour that make one picture another.

Sketches are rows of WIDTH bytes, some of the values of a colour grid. Node k of the tree holds the rows spans[k, 0] to
spans[k, 1] within the box low[k] to high[k]; its children are 2 k + 1 and 2 k + 2.

A change of colour is brightness (every value times a factor), saturation (every value away from or towards the grey of
its cell) or hue (turned in HSV, the largest and smallest value of a cell kept), by an amount that photo editors call
slight.
"""

import numpy as np
import numpy.typing as npt

from evenly.curation.arrays import Bytes, Flags, Floats, Ints, Words, compiled

WIDTH = 64  # values of a sketch of a grid: one cache line, one vector
BRIGHTNESS, SATURATION = (80, 120, 1), (50, 150, 2)  # percent: first, last, step; also the other way round
HUE = (-21, 21, 1)  # degrees
_ODD, _PAIRS, _NIBBLES, _ONES = (
    np.uint64(number) for number in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)
)
_BY = tuple(np.uint64(bits) for bits in (1, 2, 4, 56))
_SLACK = 1e-6  # of sums of allowances, which are rounded
_ONE, _WORD, _IN_WORD = np.uint64(1), np.uint64(6), np.uint64(63)


@compiled
def word_bits(first: np.uint64, second: np.uint64) -> int:
    """The number of bits (0 to 64) in which two words differ."""
    bits = first ^ second
    bits -= (bits >> _BY[0]) & _ODD
    bits = (bits & _PAIRS) + ((bits >> _BY[1]) & _PAIRS)
    bits = (bits + (bits >> _BY[2])) & _NIBBLES
    return int(np.int64((bits * _ONES) >> _BY[3]))


@compiled
def agree_under_any(first: Words, second: Words, masks: Words) -> bool:
    """Whether two codes (w,) agree in all bits of at least one of `masks` (t, w)."""
    for mask in masks:
        agrees = True
        for word in range(len(first)):
            if (first[word] ^ second[word]) & mask[word] != 0:
                agrees = False
                break
        if agrees:
            return True
    return False


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
    fresh: Flags,
    earlier: Words,
    signatures: Words,
    allowed: Floats,
    component: Ints,
    factors: Floats,
    place: Ints,
    left: Ints,
    right: Ints,
) -> int:
    """Write pairs with equal `keys` and a `fresh` row that agree under no `earlier` mask and whose signatures are near.

    `keys` (m,) are sorted and belong to the rows `order`; of equal keys, those of fresh rows come first. `signatures`
    (m, s) and `allowed` (m,), in the order of keys: the two of a pair differ in at most the sum of their allowances in
    bits. Pairs within a `component` (n,) are written only where that holds with allowances times its one of `factors`.
    `place` is where to go on, and how many pairs there were, written or not. Returns how many were written.
    """
    count, passed = 0, 0
    i, j = place[0], place[1]
    while i < len(order):
        while fresh[i] and j < len(order) and keys[j] == keys[i]:
            limit = allowed[i] + allowed[j] + _SLACK
            differing = 0
            for word in range(signatures.shape[1]):
                differing += word_bits(signatures[i, word], signatures[j, word])
                if differing > limit:
                    break
            if differing <= limit:
                if count == len(left):
                    place[0], place[1] = i, j
                    place[2] += passed
                    return count
                a, b = min(order[i], order[j]), max(order[i], order[j])
                if not agree_under_any(codes[a], codes[b], earlier):
                    passed += 1
                    group = component[a]
                    if group != component[b] or differing <= (limit - _SLACK) * factors[group] + _SLACK:
                        left[count], right[count] = a, b
                        count += 1
            j += 1
        i += 1
        j = i + 1
    place[0], place[1] = i, j
    place[2] += passed
    return count


@compiled
def fold_shingles(shingles: Words, ends: Ints, folds: Words) -> None:
    """Write `folds` (n, w) of sets: each bit is whether an odd number of a set's shingles has it.

    A shingle has one bit. So two folds differ in at most as many bits as shingles are in only one of the two sets.
    """
    bits = np.uint64(64 * folds.shape[1])
    begin = 0
    for row in range(len(ends)):
        folds[row] = 0
        for element in range(begin, ends[row]):
            bit = spread(shingles[element]) % bits
            folds[row, np.int64(bit >> _WORD)] ^= _ONE << (bit & _IN_WORD)
        begin = ends[row]


_SHIFTS = tuple(np.uint64(bits) for bits in (42, 21, 33))
_MIX = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
_MOST = np.uint64(2**64 - 1)


@compiled
def shingle(letters: npt.NDArray[np.uint32], ends: Ints, shingles: Words, shingle_ends: Ints) -> None:
    """Write the sorted distinct runs of three letters of each text, one number each, and where they end."""
    begin, written = 0, 0
    for text in range(len(ends)):
        count = max(ends[text] - begin - 2, 0)
        runs = np.empty(count, dtype=np.uint64)
        for place in range(count):
            first, second, third = letters[begin + place], letters[begin + place + 1], letters[begin + place + 2]
            runs[place] = (np.uint64(first) << _SHIFTS[0]) | (np.uint64(second) << _SHIFTS[1]) | np.uint64(third)
        runs.sort()
        for place in range(count):
            if place == 0 or runs[place] != runs[place - 1]:
                shingles[written] = runs[place]
                written += 1
        shingle_ends[text] = written
        begin = ends[text]


@compiled
def band(shingles: Words, ends: Ints, factors: Words, offsets: Words, bands: Words) -> None:
    """Write the keys (n, b) of the bands of each set's MinHash signature; `factors` (b, r) are odd, as `offsets`."""
    count, per_band = factors.size, factors.shape[1]
    flat_factors, flat_offsets = factors.ravel(), offsets.ravel()
    least = np.empty(count, dtype=np.uint64)
    begin = 0
    for row in range(len(ends)):
        least[:] = _MOST
        for element in range(begin, ends[row]):
            word = spread(shingles[element])
            for number in range(count):  # without a branch, so that it becomes a few vectors
                least[number] = min(least[number], word * flat_factors[number] + flat_offsets[number])
        for number in range(factors.shape[0]):
            key = np.uint64(0)
            for place in range(per_band):
                key = spread(key ^ least[number * per_band + place])
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
        size, second_size = ends[left[pair]] - a, ends[right[pair]] - b
        budget = int((size + second_size) * (1 - least) / (1 + least) + 1e-6)  # what may be in one of the two only
        if abs(size - second_size) > budget:
            budget = -1
        count = 0
        while a < ends[left[pair]] and b < ends[right[pair]] and budget >= 0:
            if shingles[a] == shingles[b]:
                count += 1
                a += 1
                b += 1
            elif shingles[a] < shingles[b]:
                budget -= 1
                a += 1
            else:
                budget -= 1
                b += 1
        budget -= ends[left[pair]] - a + ends[right[pair]] - b
        common[pair] = count if budget >= 0 else 0


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
        for node_row in range(begin, end):
            starts[sketches[rows[node_row], place] + 1] += 1
        for level in range(256):
            starts[level + 1] += starts[level]
        for node_row in range(begin, end):
            level = sketches[rows[node_row], place]
            order[starts[level]] = rows[node_row]
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
        for row in range(begin, end, step):
            level = np.int64(sketches[rows[row], place])
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
    near_rows, codes = np.empty((2, most + 1), np.int64), np.empty((2, most + 1), np.uint64)
    while top[0] > 0:
        a, b = stack[top[0] - 1, 0], stack[top[0] - 1, 1]
        if a != b and _boxes_apart(low[a], high[a], low[b], high[b], max_colour):
            top[0] -= 1
            continue
        if 2 * a + 2 < len(low):
            _push_children(a, b, stack, top)
            continue
        n = _near_box(sketches, hashes, spans[a], low[b], high[b], max_colour, near_rows[0], codes[0])
        m = _near_box(sketches, hashes, spans[b], low[a], high[a], max_colour, near_rows[1], codes[1])
        if count + n * m > len(left):
            return count
        top[0] -= 1
        for first_place in range(n):
            if not _any_near(codes[0, first_place], codes[1, :m], max_distance):
                continue
            i = near_rows[0, first_place]
            for second_place in range(m):
                j = near_rows[1, second_place]
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
    slot = top[0] - 1
    for child in range(2 * a + 1, 2 * a + 3):
        for second_child in range(child if a == b else 2 * b + 1, 2 * b + 3):
            stack[slot, 0], stack[slot, 1] = child, second_child
            slot += 1
    top[0] = slot


@compiled
def _near_box(  # noqa: PLR0917 - compiled code takes no keywords
    sketches: Bytes, hashes: Words, span: Ints, low: Bytes, high: Bytes, limit: int, near_rows: Ints, codes: Words
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
        near_rows[count], codes[count] = row, hashes[row]
        count += int(most <= limit)
    return count


@compiled
def _any_near(code: np.uint64, codes: Words, limit: int) -> bool:
    """Whether any of `codes` differs in at most `limit` bits."""
    count = 0
    for second in codes:
        count += word_bits(code, second) <= limit
    return count > 0


@compiled
def _within(first: Bytes, second: Bytes, limit: int) -> bool:
    """Whether no value of two rows, of a multiple of WIDTH values, differs by more than `limit`."""
    for begin in range(0, len(first), WIDTH):
        most = np.uint8(0)
        for place in range(begin, begin + WIDTH):
            difference = np.uint8(max(first[place], second[place]) - min(first[place], second[place]))
            most = np.uint8(max(most, difference))
        if most > limit:
            return False
    return True


_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114  # of grey, as in ITU-R BT.601
_TURN = 2  # the place of hue among the changes


@compiled
def fill_shifts(  # noqa: PLR0917 - compiled code takes no keywords
    colours: Bytes, left: Ints, right: Ints, limit: float, family: Ints, levels: Ints
) -> None:
    """Write for each pair of rows the change that leaves the least difference, and that difference.

    `family` is 0 where every change leaves more than `limit` levels in some value.
    """
    for pair in range(len(left)):
        first_grid, second_grid = colours[left[pair]], colours[right[pair]]
        cell = _most_different(first_grid, second_grid)
        best, kind = int(limit) + 1, 0
        for change, (first, last, step) in enumerate((BRIGHTNESS, SATURATION, HUE)):
            if not _possible(first_grid, second_grid, change, first, last, cell, best) and not _possible(
                second_grid, first_grid, change, first, last, cell, best
            ):
                continue
            for amount in range(first, last + 1, step):
                forwards = _left_over(first_grid, second_grid, change, amount, cell, best)
                backwards = _left_over(second_grid, first_grid, change, amount, cell, best)
                if min(forwards, backwards) < best:
                    best, kind = min(forwards, backwards), change + 1
        family[pair], levels[pair] = kind, best


@compiled
def _most_different(first: Bytes, second: Bytes) -> int:
    """The place of the cell that holds the largest difference."""
    most, place = -1, 0
    for value in range(len(first)):
        difference = int(abs(np.int64(first[value]) - np.int64(second[value])))
        if difference > most:
            most, place = difference, value
    return place // 3 * 3


@compiled
def _possible(  # noqa: PLR0917 - compiled code takes no keywords
    first_grid: Bytes, second_grid: Bytes, change: int, first: int, last: int, cell: int, bound: int
) -> bool:
    """Whether some amounts, one for each value, leave less than `bound` in one cell: said fast, for most pairs not."""
    if change == _TURN:
        first_cell, second_cell = first_grid[cell : cell + 3], second_grid[cell : cell + 3]
        high = abs(np.int64(first_cell.max()) - np.int64(second_cell.max()))
        return bool(max(high, abs(np.int64(first_cell.min()) - np.int64(second_cell.min()))) < bound)
    least, greatest = _changed(first_grid, cell, change, first), _changed(first_grid, cell, change, last)
    for channel in range(3):
        level = np.int64(second_grid[cell + channel])
        low, high = min(least[channel], greatest[channel]), max(least[channel], greatest[channel])
        if low - level >= bound or level - high >= bound:
            return False
    return True


@compiled
def _left_over(  # noqa: PLR0917 - compiled code takes no keywords
    first_grid: Bytes, second_grid: Bytes, change: int, amount: int, cell: int, bound: int
) -> int:
    """The largest difference in any value once `first_grid` is changed; `bound` or more where it is no less."""
    most = _apart(first_grid, second_grid, cell, change, amount)
    for other_cell in range(0, len(first_grid), 3):
        if most >= bound:
            break
        most = max(most, _apart(first_grid, second_grid, other_cell, change, amount))
    return int(most)


@compiled
def _apart(first_grid: Bytes, second_grid: Bytes, cell: int, change: int, amount: int) -> int:
    """The largest difference in the three values of one cell once `first_grid` is changed."""
    red, green, blue = _changed(first_grid, cell, change, amount)
    most = max(abs(red - np.int64(second_grid[cell])), abs(green - np.int64(second_grid[cell + 1])))
    return int(max(most, abs(blue - np.int64(second_grid[cell + 2]))))


@compiled
def _changed(grid: Bytes, cell: int, change: int, amount: int) -> tuple[int, int, int]:
    """The three values of one cell once changed."""
    red, green, blue = float(grid[cell]), float(grid[cell + 1]), float(grid[cell + 2])
    if change == _TURN:
        red, green, blue = _turned(red, green, blue, amount / 60)
    else:
        grey = 0.0 if change == 0 else _RED * red + _GREEN * green + _BLUE * blue
        share = amount / 100
        red, green, blue = grey + share * (red - grey), grey + share * (green - grey), grey + share * (blue - grey)
    return _whole(red), _whole(green), _whole(blue)


@compiled
def _whole(level: float) -> int:
    return int(min(max(level, 0.0), 255.0) + 0.5)


@compiled
def _turned(red: float, green: float, blue: float, sixths: float) -> tuple[float, float, float]:
    """A colour with its hue turned by `sixths` of a circle; largest and smallest value stay."""
    high, low = max(red, green, blue), min(red, green, blue)
    chroma = high - low
    if chroma == 0:
        return red, green, blue
    if high == red:
        hue = (green - blue) / chroma
    elif high == green:
        hue = (blue - red) / chroma + 2
    else:
        hue = (red - green) / chroma + 4
    hue += sixths
    return (
        high - chroma * _missing(5 + hue),
        high - chroma * _missing(3 + hue),
        high - chroma * _missing(1 + hue),
    )


@compiled
def _missing(sixths: float) -> float:
    """The share of the chroma that a value lacks of the largest one, by its place on the circle."""
    place = sixths % 6
    return max(0.0, min(place, 4 - place, 1.0))
