"""Exact search for rows whose colour grids and codes both agree within limits.

A similarity join over a k-d tree: rows are split in halves along the colour that spreads most, and two boxes of rows
whose mean colours differ by more than the limit are left out whole. Nothing is left to chance: the pairs are those of
comparing all with all. Twice the pictures take up to three times as long where they differ in colour as photographs do;
many pictures of nearly one colour cost the square of their number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curation.candidates import CHUNK, Ints, Words

Grids = npt.NDArray[np.uint8]
_LEAF = 8


def colour_pairs(colours: Grids, max_colour: float, codes: Words, max_distance: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield all pairs (i, j), i < j, that agree within both limits, each once, in parts of at most CHUNK.

    `colours` (n, 768) are 16 x 16 RGB grids, none of whose values may differ by more than `max_colour`; `codes` (n, w)
    may differ in at most `max_distance` bits.
    """
    from curation.pair_kernels import join_nodes

    if not len(colours):
        return
    tree = _Tree.over(_block_sums(colours))
    left, right = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    stack = np.zeros((8 * (len(tree.spans).bit_length() + 2), 2), dtype=np.int64)
    top = np.ones(1, dtype=np.int64)
    limit = int(max_colour)  # values are whole
    while top[0]:
        count = join_nodes(
            tree.rows, tree.spans, tree.low, tree.high, stack, top, colours, limit, codes, max_distance, left, right
        )
        if count:
            yield left[:count].copy(), right[:count].copy()


@dataclass(frozen=True)
class _Tree:
    """Node k holds rows[spans[k, 0]:spans[k, 1]] in the box low[k] to high[k]; its children are 2 k + 1 and 2 k + 2."""

    rows: Ints
    spans: Ints
    low: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]

    @classmethod
    def over(cls, points: npt.NDArray[np.int32]) -> "_Tree":
        """Split `points` (n, d) in halves until each has at most _LEAF."""
        n, d = points.shape
        depth = max(0, int(np.ceil(np.log2(max(n, 1) / _LEAF))))
        nodes = 2 ** (depth + 1) - 1
        rows = np.arange(n)
        spans = np.zeros((nodes, 2), dtype=np.int64)
        low, high = np.zeros((nodes, d), dtype=np.int32), np.zeros((nodes, d), dtype=np.int32)
        spans[0] = 0, n
        for node in range(nodes):
            begin, end = spans[node]
            inside = points[rows[begin:end]]
            low[node], high[node] = inside.min(axis=0), inside.max(axis=0)
            if 2 * node + 2 < nodes:
                half = (end - begin) // 2
                axis = int(np.argmax(high[node] - low[node]))
                rows[begin:end] = rows[begin:end][np.argpartition(inside[:, axis], half)]
                spans[2 * node + 1], spans[2 * node + 2] = (begin, begin + half), (begin + half, end)
        return cls(rows, spans, low, high)


def _block_sums(colours: Grids) -> npt.NDArray[np.int32]:
    """Return sums (n, 48) over blocks of 4 x 4 cells; grids within a limit have sums within 16 times that limit."""
    sums = np.empty((len(colours), 48), dtype=np.int32)
    for begin in range(0, len(colours), CHUNK >> 6):
        blocks = colours[begin : begin + (CHUNK >> 6)].reshape(-1, 4, 4, 4, 4, 3)
        sums[begin : begin + len(blocks)] = blocks.sum(axis=(2, 4), dtype=np.int32).reshape(-1, 48)
    return sums
