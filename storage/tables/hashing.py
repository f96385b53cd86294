"""Hashes of content: of a file by its bytes, of an Arrow table by its logical values, of a build's table as a tree.

Two builds have the same content hash if the same recipe, run by the same step versions and models, decided the same of
the same pairs. When, where, by which run and out of which files does not enter: a rebuild in another folder, with
another number of workers or partitions, gives the same hash. LEFT_OUT are columns that do not enter.

The hash of such a table is a tree over the prefixes of its keys. A node holds the rows whose keys begin with the same
hex digits. Of at most LEAF rows its hash is that of the rows; a larger one's is the hash of its 16 children. So a small
table has the hash of its rows, and a table in partitions is hashed partition by partition: only nodes that reach over
several are put together, and of these only small ones by reading rows.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.keys import is_text_type, one_array, sorted_order
from evenly.storage.errors import StorageError
from evenly.storage.tables.partitions import Partition, Words, first_words, in_key_order, key_of

LEAF = 1 << 16
"""Rows that are hashed at once."""
_DEPTH = 8  # digits of a key's first word
_CHILDREN = 16


def file_hash(path: Path) -> str:
    """SHA-256, in hex, of a file's bytes. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def table_hash(table: pa.Table) -> str:
    """SHA-256 over the typed logical values of `table`, column by column, in row order.

    Chunking, slicing, validity of absent bits, dictionary and run-end encoding, what stands under a null, the width of
    offsets and the file layout do not enter. Sort before: rows in another order are other content. Nested values enter
    field by field. Raises StorageError for a type whose values it does not know (unions).
    """
    digest = hashlib.sha256(str(table.num_rows).encode())
    for name in sorted(table.column_names):
        column = one_array(table.column(name))
        digest.update(f"|{name}|".encode())
        try:
            _hash_array(digest, column)
        except (TypeError, NotImplementedError) as error:
            raise StorageError(
                f"column `{name}` must be of a type whose values can be hashed; got {column.type} ({error}). "
                "Store it as text or numbers."
            ) from None
    return digest.hexdigest()


def _hash_array(digest: "hashlib._Hash", array: pa.Array) -> None:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    elif pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    digest.update(f"{_logical_name(array.type)}|{len(array)}|".encode())
    valid = pc.is_valid(array).to_numpy(zero_copy_only=False) if array.null_count else np.ones(len(array), np.bool_)
    digest.update(np.packbits(valid).data)
    if array.null_count < len(array):
        _hash_values(digest, array.storage if isinstance(array, pa.ExtensionArray) else array)


def _hash_values(digest: "hashlib._Hash", array: pa.Array) -> None:
    kind = array.type
    if pa.types.is_map(kind):
        array = array.cast(pa.list_(pa.struct([kind.key_field.with_name("key"), kind.item_field.with_name("value")])))
        _hash_values(digest, array)
    elif is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        digest.update(np.asarray(lengths.to_numpy(zero_copy_only=False), dtype="<i8").data)
        _hash_array(digest, array.flatten())
    elif pa.types.is_struct(kind):
        for field, child in zip(kind, array.flatten(), strict=True):
            digest.update(f"{len(field.name)}:{field.name}|".encode())
            _hash_array(digest, child)
    elif is_text_or_bytes(kind):
        _hash_text(digest, array)
    elif pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_interval(kind):
        _hash_fixed_width(digest, array)
    elif pa.types.is_primitive(kind):
        _hash_numbers(digest, array)
    else:
        raise TypeError("no such values are known here")


def _logical_name(kind: pa.DataType) -> str:
    """One name for types that hold the same values."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "binary"
    if is_list(kind):
        return "list"
    if pa.types.is_map(kind):
        return "map"
    return "struct" if pa.types.is_struct(kind) else str(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of any layout."""
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def is_text_or_bytes(kind: pa.DataType) -> bool:
    """Whether values of this type are texts or bytes of any length."""
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return bool(binary or is_text_type(kind))


def has_remnants(texts: pa.Array) -> bool:
    """Whether anything stands under a null of texts or bytes, which are no views."""
    if not texts.null_count:
        return False
    is_null = texts.is_null().to_numpy(zero_copy_only=False)
    return bool(np.diff(_text_bounds(texts))[is_null].any())


def _text_bounds(texts: pa.Array) -> npt.NDArray[np.int32] | npt.NDArray[np.int64]:
    """Where each of n texts begins, and the last one ends (n + 1,)."""
    if texts.buffers()[1] is None:  # of no rows
        return np.zeros(1, np.int32)
    is_short = pa.types.is_string(texts.type) or pa.types.is_binary(texts.type)
    bounds = texts.buffers()[1]
    of_all = np.frombuffer(bounds, np.int32) if is_short else np.frombuffer(bounds, np.int64)
    return of_all[texts.offset : texts.offset + len(texts) + 1]


def _hash_text(digest: "hashlib._Hash", array: pa.Array) -> None:
    short = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    data = array.cast(pa.binary() if short else pa.large_binary())
    data = pc.fill_null(data, b"") if has_remnants(data) else data
    offsets = _text_bounds(data)
    digest.update(np.diff(offsets).astype("<u4").data)
    if len(data) and offsets[-1] > offsets[0]:
        digest.update(memoryview(data.buffers()[2])[offsets[0] : offsets[-1]])


def _hash_fixed_width(digest: "hashlib._Hash", array: pa.Array) -> None:
    """The bytes of values that numpy has no type for; zeros where a value is null."""
    width = array.type.bit_width // 8
    values = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    if array.null_count:
        valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
        values = np.where(valid[:, None], values.reshape(len(array), width), np.uint8(0))
    digest.update(np.ascontiguousarray(values).data)


def _hash_numbers(digest: "hashlib._Hash", array: pa.Array) -> None:
    kind = array.type
    if pa.types.is_boolean(kind):
        array, kind = array.cast(pa.uint8()), pa.uint8()
    if pa.types.is_temporal(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    values = (pc.fill_null(array, 0) if array.null_count else array).to_numpy(zero_copy_only=False)
    if np.issubdtype(values.dtype, np.floating):
        values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values + values.dtype.type(0))
    digest.update(np.ascontiguousarray(values).data)


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
    if unordered and (repeated := _repeated(one_array(table[first[0]]), order)).any():
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
    if is_whole and (key is None or _is_unique(one_array(table[key]))):
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
