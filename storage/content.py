"""The content of a table: the columns that the content hash of a build covers, and the order in which rows enter.

Two builds have the same content hash if the same recipe, run by the same step versions and models, decided the same of
the same pairs. When, where, by which run and out of which files does not enter: a rebuild in another folder, with
another number of workers or partitions, gives the same hash.

The hash of a table is a tree over the prefixes of its keys. A node holds the rows whose keys begin with the same hex
digits. Of at most LEAF rows its hash is that of the rows (storage/tables/hashing.py); a larger one's is the hash of its
16 children. So a small table has the hash of its rows, and a table in partitions is hashed partition by partition: only
nodes that reach over several are put together, and of these only small ones by reading rows.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import sorted_order
from evenly.storage.tables.hashing import is_text_or_bytes, table_hash
from evenly.storage.tables.partitions import Partition, Words, first_words, in_key_order, key_of

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


# Column -> why it is no part of the content, in the sample table and in child tables alike.
LEFT_OUT: Mapping[str, str] = {
    "file_hash": "the pool file may be cut or compressed in another way and hold the same rows",
    "row": "a row's place in its file is no property of the pair",
    "source_file": "a path",
    "source_row": "a row's place in its file is no property of the pair",
    "tar": "the name of a file; bytes are known by image_id",
    "key": "a name within a file; bytes are known by image_id",
    "offset": "a place within a file; bytes are known by image_id",
    "size": "belongs to the place; the length of the body is n_bytes",
    "attempt": "how often was asked before the answer came",
    "fetched_at": "a time",
    "evidence": "a header or message of one observation, ports and all; what follows from it has columns of its own",
    "reservation_evidence": "as evidence, with times; the mechanisms are the column reservation",
}
# Ends with -> why, in the sample table.
LEFT_OUT_ENDINGS: Mapping[str, str] = {
    "_step_id": "names a run by a key that also hashes the pool files; version, rule and model stand with the steps",
}
# Columns by which the rows of a child table are put in order, where it has them.
_ROW_NAMES = ("uid", "uid_a", "image_id")


def content_table(table: pa.Table) -> pa.Table:
    """Return the columns of `table` that are content, with rows in an order that only their content decides.

    A table with a column uid, uid_a or image_id is sorted by it, by its other columns of types that have an order, and
    last by the hash of the remaining ones (lists, structs). In any other table the order of the rows means something
    (the entries of a concept list are numbered by it) and stays.
    """
    endings = tuple(LEFT_OUT_ENDINGS)
    kept = [name for name in table.column_names if name not in LEFT_OUT and not name.endswith(endings)]
    table = table.select(kept)
    first = [name for name in _ROW_NAMES if name in kept]
    if not first:
        return table
    further = [name for name in sorted(kept) if name not in first]
    ordered = [name for name in further if _is_sortable(table.schema.field(name).type)]
    unordered = [name for name in further if name not in ordered]
    keys = table.select([*first, *ordered])
    order = sorted_order(keys)
    if unordered and (repeated := _repeated(table[first[0]].combine_chunks(), order)).any():
        nested = table.select(unordered)
        hashes = [table_hash(nested.slice(row, 1)) if is_repeated else None for row, is_repeated in enumerate(repeated)]
        order = sorted_order(keys.append_column("", pa.array(hashes, pa.string())))
    return table.take(order)


def _repeated(names: pa.Array, order: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether another row has the same name (n,); `order` sorts them."""
    last, first = names.take(order[:-1]), names.take(order[1:])
    equal = pc.fill_null(pc.equal(last, first), True).to_numpy(zero_copy_only=False)  # nulls stand together, at the end
    repeated = np.zeros(len(names), np.bool_)
    places = order.to_numpy()
    repeated[places[:-1][equal]] = True
    repeated[places[1:][equal]] = True
    return repeated


def content_rows(table: pa.Table) -> pa.Table:
    """The rows of `content_table`, in key order where the table has a key."""
    content = content_table(table)
    key = key_of(content.column_names)
    return content if key is None else in_key_order(content, key)


def content_nodes(table: pa.Table, partition: Partition) -> Sequence[Node]:
    """The nodes of what is content in the rows of a partition; none where it is the table itself."""
    key = key_of(table.column_names)
    endings = tuple(LEFT_OUT_ENDINGS)
    is_whole = not any(name in LEFT_OUT or name.endswith(endings) for name in table.column_names)
    if is_whole and (key is None or _is_unique(table[key].combine_chunks())):
        return ()
    return nodes_of(content_rows(table), partition)


def _is_unique(keys: pa.Array) -> bool:
    """Whether no two of the keys, in order, are equal, and none is null."""
    repeated = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1)) if len(keys) > 1 else pa.array([], pa.bool_())
    return not keys.null_count and not pc.any(repeated).as_py()


def _is_sortable(kind: pa.DataType) -> bool:
    """Whether Arrow sorts a column of this type by its values."""
    return bool(
        (pa.types.is_primitive(kind) and not pa.types.is_float16(kind) and not pa.types.is_interval(kind))
        or pa.types.is_decimal128(kind)
        or pa.types.is_decimal256(kind)
        or pa.types.is_fixed_size_binary(kind)
        or (is_text_or_bytes(kind) and not pa.types.is_string_view(kind) and not pa.types.is_binary_view(kind))
    )
