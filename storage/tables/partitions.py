"""Partitions of a table with rows of pairs: the rows whose key begins with the same bits.

A key is a hash in hex (a uid, an image_id), so its leading bits cut any pool into parts of nearly equal size. Tables of
all steps are cut alike, and the rows of one pair lie in the same partition of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from evenly.keys import is_text_type, one_array, sorted_order
from evenly.storage.errors import StorageError

KEYS = ("uid", "uid_a", "image_id")
"""Columns that cut a table, the first that it has; a table with none of them is whole in every partition."""
MAX_BITS = 16
_WORD = 32
_DIGITS = 8
_KEYLESS = ("source", "url", "caption")  # of rows without a key
_EACH = np.uint64(0x0101010101010101)
Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class Partition:
    """The keys whose first `bits` bits are `number`; all keys for 0 bits."""

    bits: int = 0
    number: int = 0

    @property
    def first(self) -> int:
        """The smallest first word of a key in it."""
        return self.number << (_WORD - self.bits)

    @property
    def end(self) -> int:
        """The smallest first word after it."""
        return (self.number + 1) << (_WORD - self.bits)

    @classmethod
    def all(cls, bits: int) -> "list[Partition]":
        """The 2**bits partitions, in the order of their keys."""
        return [cls(bits=bits, number=number) for number in range(1 << bits)]

    def numbers_at(self, bits: int) -> range:
        """The numbers of the partitions of so many bits that hold keys of this one."""
        if bits <= self.bits:
            number = self.number >> (self.bits - bits)
            return range(number, number + 1)
        shift = bits - self.bits
        return range(self.number << shift, (self.number + 1) << shift)


ALL = Partition()


def key_of(names: Sequence[str]) -> str | None:
    """The column by which a table with these columns is cut; None where it has none."""
    return next((name for name in KEYS if name in names), None)


def partition_of(key: str, bits: int) -> int:
    """The number of the partition of so many bits in which the rows of a key lie."""
    return int(key[:_DIGITS], 16) >> (_WORD - bits) if bits else 0


def first_words(table: pa.Table, key: str) -> Words:
    """The first 32 bits (n,) of each row's key; of a row without one, those of a hash of what it says.

    Raises StorageError for keys that are not in hex.
    """
    keys = one_array(table[key])
    if not keys.null_count:
        return _leading(keys)
    words = np.empty(len(keys), np.uint32)
    valid = keys.is_valid().to_numpy(zero_copy_only=False)
    words[valid] = _leading(keys.drop_null())
    texts = [name for name in _KEYLESS if name in table.column_names]
    words[~valid] = _hashed(table.select(texts or [key]).filter(pa.array(~valid)))
    return words


def in_key_order(table: pa.Table, key: str) -> pa.Table:
    """The rows in the order of their keys, those of one key as they stood; without a key, by a hash of their texts."""
    keys = one_array(table[key])
    if keys.null_count:
        return table.take(pa.array(np.argsort(first_words(table, key), kind="stable")))
    if len(keys) < 2 or pc.all(pc.less_equal(keys.slice(0, len(keys) - 1), keys.slice(1))).as_py():
        return table
    return table.take(sorted_order(table.select([key])))


def cut_rows(table: pa.Table, bits: int) -> list[pa.Table]:
    """The rows of each of 2**bits partitions, in key order; a table without a key stands in each."""
    key = key_of(table.column_names)
    if key is None:
        return [table] * (1 << bits)
    table = in_key_order(table, key)
    if bits == 0:
        return [table]
    numbers = first_words(table, key) >> np.uint32(_WORD - bits)
    bounds = np.searchsorted(numbers, np.arange((1 << bits) + 1, dtype=np.uint32))
    return [table.slice(start, stop - start) for start, stop in pairwise(bounds)]


def rows_of(table: pa.Table, partition: Partition) -> pa.Table:
    """The rows of a table that are in a partition, in key order; all of a table without a key."""
    key = key_of(table.column_names)
    if key is None or partition.bits == 0:
        return table
    table = in_key_order(table, key)
    words = first_words(table, key)
    start, stop = np.searchsorted(words, np.array([partition.first, partition.end], np.uint64))
    return table.slice(start, stop - start)


def _leading(keys: pa.Array) -> Words:
    if not len(keys):
        return np.empty(0, np.uint32)
    text = keys if pa.types.is_string(keys.type) else keys.cast(pa.large_string())
    _, ends, data = text.buffers()
    is_short = pa.types.is_string(text.type)
    bounds: npt.NDArray[Any] = np.frombuffer(ends, np.int32 if is_short else np.int64)
    starts = bounds[text.offset : text.offset + len(text) + 1]
    letters = np.frombuffer(data if data is not None else b"", np.uint8)
    lengths = np.diff(starts)
    short, size = lengths < _DIGITS, int(lengths[0])
    if size >= _DIGITS and (lengths == size).all():
        digits = np.ascontiguousarray(letters[starts[0] : starts[-1]].reshape(len(keys), size)[:, :_DIGITS])
    else:
        places = np.minimum(starts[:-1, None] + np.arange(_DIGITS), max(len(letters) - 1, 0))
        digits = letters[places] if len(letters) else np.zeros((len(keys), _DIGITS), np.uint8)
    words = digits.view("<u8").ravel()  # eight digits at once, the first in the lowest byte
    values = (words & (_EACH * 15)) + (words >> 6 & _EACH) * 9
    letters_of_values = values + _EACH * ord("0") + (values + _EACH * 6 >> 4 & _EACH) * (ord("a") - ord("0") - 10)
    if (wrong := short | (letters_of_values != words) | (values & (_EACH * 240) != 0)).any():
        raise StorageError(
            f"keys of a table that is cut must begin with {_DIGITS} hex digits; got "
            f"`{keys[int(np.argmax(wrong))].as_py()}`. Remove the workspace's ledger and run the rebuild again."
        )
    octets = (values << 4 | values >> 8) & 0x00FF00FF00FF00FF
    pairs = (octets | octets >> 8) & 0x0000FFFF0000FFFF
    return (pairs | pairs >> 16).astype(np.uint32).byteswap()


def _hashed(table: pa.Table) -> Words:
    """The first 32 bits of a hash of each row's source, URL and caption.

    Of no other column, so that a row has the same hash in every table that it stands in.
    """
    columns = [
        table[name].to_pylist()
        if name in table.column_names and is_text_type(table.schema.field(name).type)
        else [None] * table.num_rows
        for name in _KEYLESS
    ]
    return np.fromiter(
        (xxh3_64_intdigest(repr(row).encode()) >> _WORD for row in zip(*columns, strict=True)),
        np.uint32,
        count=table.num_rows,
    )


def pieces_of(table: pa.Table, bits: int, *, is_cut: bool) -> list[tuple[pa.Table, Partition | None]]:
    """The rows of each partition in key order; a table without a key is one piece.

    Tables of a step that judges no pairs are whole, and keep the order that they have: of a ranking, say.
    """
    if not is_cut:
        return [(table, None)]
    if key_of(table.column_names) is None:
        return [(table, ALL)]
    return [(rows, part) for rows, part in zip(cut_rows(table, bits), Partition.all(bits), strict=True)]
