"""The hash of a table as a tree over the prefixes of its keys: the same for any number of partitions.

A node holds the rows whose keys begin with the same hex digits. Of at most LEAF rows its hash is that of the rows
(storage/tables/hashing.py); a larger one's is the hash of its 16 children. So a small table has the hash of its rows,
and a table in partitions is hashed partition by partition: only nodes that reach over several are put together, and of
these only small ones by reading rows.
"""

import hashlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from evenly.storage.tables.hashing import table_hash
from evenly.storage.tables.partitions import Partition, Words, first_words, key_of

LEAF = 1 << 16
"""Rows that are hashed at once."""
_DEPTH = 8  # digits of a key's first word
_CHILDREN = 16


class Node(NamedTuple):
    """The number of rows of a node, and its hash in hex."""

    rows: int
    digest: str


def level_of(bits: int) -> int:
    """The number of digits of the largest nodes that lie within one partition of so many bits."""
    return -(-bits // 4)


def nodes_of(table: pa.Table, partition: Partition) -> list[Node]:
    """The largest nodes that lie within the partition whose rows, in key order, `table` holds; in their order."""
    key = key_of(table.column_names)
    if key is None or (partition.bits == 0 and table.num_rows <= LEAF):
        return [Node(table.num_rows, table_hash(table))]
    words = first_words(table, key)
    level = level_of(partition.bits)
    n_nodes = 1 << (4 * level - partition.bits)
    bounds = _bounds(words, partition.first, partition.end, n_nodes)
    return [
        Node(int(stop - start), _digest(table.slice(start, stop - start), words[start:stop], level))
        for start, stop in pairwise(bounds)
    ]


def root_of(nodes: Sequence[Node], bits: int, read: Callable[[range], pa.Table]) -> str:
    """The hash of a whole table from the nodes of all its partitions of so many bits, in order.

    read: the rows of partitions of these numbers, in key order; asked for small nodes that reach over several.
    """
    level = level_of(bits)
    per_partition = 1 << (4 * level - bits)

    def digest(first: int, depth: int) -> str:
        if depth == level:
            return nodes[first].digest
        width = _CHILDREN ** (level - depth)
        if sum(node.rows for node in nodes[first : first + width]) <= LEAF:
            return table_hash(read(range(first // per_partition, (first + width) // per_partition)))
        step = width // _CHILDREN
        return _joined([digest(first + number * step, depth + 1) for number in range(_CHILDREN)])

    return digest(0, 0)


def part_digest(nodes: Sequence[Node]) -> str:
    """The hash, in hex, of the rows of one partition."""
    if len(nodes) == 1:
        return nodes[0].digest
    return hashlib.sha256("".join(f"part|{rows}|{digest}\n" for rows, digest in nodes).encode()).hexdigest()


def _digest(table: pa.Table, words: Words, depth: int) -> str:
    if table.num_rows <= LEAF or depth == _DEPTH:
        return table_hash(table)
    span = 1 << (4 * (_DEPTH - depth))
    first = int(words[0]) // span * span
    bounds = _bounds(words, first, first + span, _CHILDREN)
    return _joined(
        [_digest(table.slice(start, stop - start), words[start:stop], depth + 1) for start, stop in pairwise(bounds)]
    )


def _bounds(words: Words, first: int, end: int, parts: int) -> list[int]:
    """Where each of `parts` equal stretches of the words from `first` to `end` begins, and the last ends."""
    marks = first + (end - first) // parts * np.arange(parts + 1, dtype=np.uint64)
    return [int(place) for place in np.searchsorted(words, marks)]


def _joined(digests: Sequence[str]) -> str:
    return hashlib.sha256(b"node" + bytes.fromhex("".join(digests))).hexdigest()
