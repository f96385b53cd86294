"""Exact search for rows whose colour grids and hashes agree within limits, as they are or after one change of colour.

A similarity join over a tree. Rows are sketched by the 64 values of the grid that tell most of them apart, and halved
along these; boxes of rows that differ by more than the limit in any value are left out whole, rows outside of the other
box are left out one by one, and only then hashes, sketches and grids are compared, in this order. Nothing is left to
chance: the pairs are those of comparing all with all. Which values are sketched changes the time and nothing else.
docs/deduplication.md says how the time grows; many pictures of nearly one colour cost the square of their number.

Duplicates may also be shifted: one was brightened, saturated or turned in hue as a whole. Their grids differ by more
than the limit, yet a change of one number turns one into the other. No such change does that for another skin tone or
flag, where some colours changed and others did not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.arrays import Bytes, Flags, Floats, Ints, Words, fixed_rows
from evenly.curation.duplicates.lsh import CHUNK, Signatures, candidate_pairs

GRID = 16
COLOUR_BYTES = GRID * GRID * 3
_LEAF = 256
_MEASURED = 2048  # pairs that are measured at once
_NARROW = 200.0  # a variance; a box of this spread is about as wide as the usual limit
_LEARNT_FROM = 1024  # rows, evenly spaced, that tell which values to sketch
_CONSTANT = 1e-9  # what rounding leaves of a value that others determine


def picture_colours(batch: pa.Table) -> tuple[Bytes, Flags]:
    """Return colour grids (n, 768) and which rows have one."""
    valid = batch["colour"].is_valid().to_numpy() if "colour" in batch.column_names else np.empty(0, np.bool_)
    return fixed_rows(batch, "colour", pa.uint8(), COLOUR_BYTES), np.array(valid, dtype=np.bool_)


def colour_pairs(colours: Bytes, max_colour: float, hashes: Words, max_distance: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield all pairs (i, j), i < j, that agree within both limits, each once, in parts of at most CHUNK.

    `colours` (n, 768) are 16 x 16 RGB grids, none of whose values may differ by more than `max_colour`; `hashes` (n,)
    may differ in at most `max_distance` bits.
    """
    from evenly.curation.duplicates.kernels import join_nodes

    if not len(colours):
        return
    tree = _Tree.over(np.ascontiguousarray(colours[:, _telling_values(colours)]))
    hashes = hashes[tree.rows]
    left, right = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    stack = np.zeros((4 * (len(tree.spans).bit_length() + 1), 2), dtype=np.int64)
    top = np.ones(1, dtype=np.int64)
    shape, limit = (tree.rows, tree.spans, tree.low, tree.high), int(max_colour)  # values are whole
    while top[0]:
        count = join_nodes(*shape, stack, top, tree.sketches, hashes, max_distance, colours, limit, left, right)
        if count:
            yield left[:count].copy(), right[:count].copy()


@dataclass(frozen=True)
class _Tree:
    """Nodes of at most _LEAF rows at the bottom; kernels says what the fields hold, `sketches` in its order."""

    rows: Ints
    spans: Ints
    low: Bytes
    high: Bytes
    sketches: Bytes

    @classmethod
    def over(cls, sketches: Bytes) -> "_Tree":
        from evenly.curation.duplicates.kernels import WIDTH, fill_boxes, grow_tree

        n = len(sketches)
        nodes = 2 ** (int(np.ceil(np.log2(max(n / _LEAF, 1)))) + 1) - 1
        rows, spans = np.arange(n), np.zeros((nodes, 2), dtype=np.int64)
        grow_tree(sketches, rows, spans, _NARROW)
        low, high = np.empty((nodes, WIDTH), dtype=np.uint8), np.empty((nodes, WIDTH), dtype=np.uint8)
        sketches = sketches[rows]
        fill_boxes(sketches, spans, low, high)
        return cls(rows, spans, low, high, sketches)


def _telling_values(colours: Bytes) -> Ints:
    """Return WIDTH columns of `colours`, each the one of which those before it tell least (a pivoted Cholesky)."""
    from evenly.curation.duplicates.kernels import WIDTH

    residual = colours[:: -(-len(colours) // _LEARNT_FROM)].astype(np.float64)
    residual -= residual.mean(axis=0)
    chosen = np.zeros(WIDTH, dtype=np.int64)
    is_chosen = np.zeros(residual.shape[1], dtype=np.bool_)
    for number in range(WIDTH):
        spread = np.where(is_chosen, -1.0, (residual * residual).sum(axis=0))
        column = chosen[number] = np.argmax(spread)
        is_chosen[column] = True
        if spread[column] > _CONSTANT:
            direction = residual[:, column] / np.sqrt(spread[column])
            residual -= np.outer(direction, direction @ residual)
    return chosen


FAMILIES = ("", "brightness", "saturation", "hue")
SHIFTED_BITS = 4  # shifts hardly change the grey that the hash is of
_PLAIN = 64  # levels; colours of a picture that spans fewer say little about what it shows


def shifted_pairs(
    colours: Bytes, max_colour: float, max_shifted: float, hashes: Words, max_distance: int
) -> Iterator[tuple[Ints, Ints]]:
    """Yield all pairs (i, j), i < j, whose hashes differ in at most `max_distance` bits and whose grids by a shift.

    `colours` (n, 768) are 16 x 16 RGB grids that differ by more than `max_colour` in some value as they are, and after
    a change by at most `max_shifted`. Rows whose values span fewer than 64 levels have no such duplicates. Hashes (n,)
    within `max_distance` bits agree in two of `max_distance` + 2 blocks of bits, so none is missed.
    """
    telling = telling_rows(colours)
    codes = hashes[telling].reshape(-1, 1)
    signatures = Signatures.within(codes, max_distance)
    for first_places, second_places in candidate_pairs(codes, pairs_of_blocks(max_distance + 2), signatures=signatures):
        left, right = telling[first_places], telling[second_places]
        is_shifted = differ_by_shift(colours, left, right, max_colour, max_shifted)
        if is_shifted.any():
            yield left[is_shifted], right[is_shifted]


def telling_rows(colours: Bytes) -> Ints:
    """Return the rows (m,) of grids that span enough levels to be told from others whose colours are shifted."""
    return np.flatnonzero(np.ptp(colours, axis=1) >= _PLAIN) if len(colours) else np.empty(0, np.int64)


def differ_by_shift(colours: Bytes, left: Ints, right: Ints, max_colour: float, max_shifted: float) -> Flags:
    """Return whether the grids of pairs (m,) differ by more than `max_colour`, and after a change by `max_shifted`."""
    is_shifted = colour_distances(colours, left, right) > max_colour
    shifted = np.flatnonzero(is_shifted)
    is_shifted[shifted] = find_shifts(colours, left[shifted], right[shifted], max_shifted)[0] > 0
    return is_shifted


def find_shifts(colours: Bytes, left: Ints, right: Ints, limit: float) -> tuple[Ints, Ints]:
    """Return the place in FAMILIES (n,) of the change that makes pairs of grids most alike, and the levels left (n,).

    The place is 0 where every change leaves more than `limit` in some value.
    """
    from evenly.curation.duplicates.kernels import fill_shifts

    family, levels = np.zeros(len(left), dtype=np.int64), np.zeros(len(left), dtype=np.int64)
    fill_shifts(colours, left, right, limit, family, levels)
    return family, levels


def pairs_of_blocks(count: int) -> Words:
    """Return masks (t, 1) for all pairs of `count` blocks, each of every so many-th bit of 64."""
    blocks = [sum(1 << bit for bit in range(first, 64, count)) for first in range(count)]
    return np.array([[first | second] for first, second in combinations(blocks, 2)], dtype=np.uint64)


_CELL_SAMPLE = 64  # rows by which a cell is still halved


@dataclass(frozen=True)
class ColourCells:
    """Colour grids cut into 2**depth cells: node k sends a grid whose `values[k]` is over `levels[k]` to the right.

    The children of node k are 2 k + 1 and 2 k + 2. Which grids taught it changes the time of a search and no result.
    """

    values: Ints
    levels: Ints

    @classmethod
    def learn(cls, colours: Bytes, depth: int, limit: float) -> "ColourCells":
        """Cells that halve `colours` (n, 768), with few grids within `limit` of a border."""
        n_nodes = 2**depth - 1
        values, levels = np.zeros(n_nodes, np.int64), np.full(n_nodes, 127, np.int64)
        rows = {0: np.arange(len(colours))}
        for node in range(n_nodes):
            members = rows.pop(node)
            if len(members) >= _CELL_SAMPLE:
                values[node], levels[node] = _halving(colours[members], limit)
            is_over = colours[members, values[node]] > levels[node]
            rows |= {2 * node + 1: members[~is_over], 2 * node + 2: members[is_over]}
        return cls(values, levels)

    def assign(self, colours: Bytes, limit: float) -> tuple[Ints, Ints]:
        """Return (row, cell), sorted: the cell that each grid lies in, and those before it that it is near to.

        Of any two grids that differ by at most `limit` in every value, one lies in a cell that both are given.
        """
        if not len(self.values):
            return np.arange(len(colours)), np.zeros(len(colours), np.int64)
        rows, nodes, homes = np.arange(len(colours)), np.zeros(len(colours), np.int64), np.ones(len(colours), np.bool_)
        while nodes[:1].size and nodes[0] < len(self.values):
            level = colours[rows, self.values[nodes]].astype(np.int64)
            is_over, steps = level > self.levels[nodes], int(limit)
            goes_left = level - steps <= self.levels[nodes]
            goes_right = level + steps > self.levels[nodes]
            parts = [
                (rows[goes], 2 * nodes[goes] + side, homes[goes] & (is_over[goes] == (side == 2)))
                for goes, side in ((goes_left, 1), (goes_right, 2))
            ]
            rows, nodes, homes = (np.concatenate(sides) for sides in zip(*parts, strict=True))
        cells = nodes - len(self.values)
        home = np.empty(len(colours), np.int64)
        home[rows[homes]] = cells[homes]
        chosen = cells <= home[rows]
        order = np.lexsort((cells[chosen], rows[chosen]))
        return rows[chosen][order], cells[chosen][order]


def _halving(colours: Bytes, limit: float) -> tuple[int, int]:
    """Return the value, and the level of it, that leave the fewest grids on either side, those near to it included."""
    best = (len(colours) + 1, 0, 127)
    middle = np.sort(colours, axis=0)[[len(colours) // 3, len(colours) // 2, 2 * len(colours) // 3]].astype(np.int64)
    wide = colours.astype(np.int64)
    for levels in middle:
        most = np.maximum((wide - int(limit) <= levels).sum(axis=0), (wide + int(limit) > levels).sum(axis=0))
        value = int(np.argmin(most))
        best = min(best, (int(most[value]), value, int(levels[value])))
    return best[1], best[2]


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
    for start in range(0, len(left), _MEASURED):
        part = slice(start, start + _MEASURED)
        measured[part] = measure(left[part], right[part])
    return measured
