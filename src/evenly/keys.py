"""Keys of rows, which are hashes in text: rows are found and sorted by them, and some addresses hold one.

All keys of a column have the same length, and tables stand in their order. So their first eight bytes, read as a
number, place nearly all rows, and few texts are compared.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

LOCAL_ADDRESS = "^(?:sha256|features):(?P<hash>[0-9a-f]{64})$"
"""A pair's `url` of a picture that needs no download: the sha256 of its bytes, or of its features if these are all."""
_WORD = 8
_MOST_STEPS = 8
_AFTER_ALL = np.uint64(2**64 - 1)  # no text begins like this


def places_in(wanted: pa.Array | pa.ChunkedArray, keys: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The first place in `keys` of each of `wanted`, null where it has none, as `pc.index_in` gives it.

    It is faster where `keys` is sorted.
    """
    wanted, keys = one_array(wanted), one_array(keys)
    rows, known_rows = _fixed_rows(wanted), _fixed_rows(keys)
    if rows is not None and known_rows is not None and rows.shape[1] == known_rows.shape[1]:
        words, known_words = _words(rows), _words(known_rows)
        if (known_words[1:] >= known_words[:-1]).all():
            places = np.minimum(np.searchsorted(known_words, words), len(known_words) - 1)
            is_known = _all_equal(known_rows.take(places, axis=0), rows)
            left = np.flatnonzero(~is_known)
            for _ in range(_MOST_STEPS):
                left = left[known_words[places[left]] == words[left]]
                places[left] += 1
                left = left[places[left] < len(known_words)]
                if not len(left):
                    return pa.array(places, mask=~is_known)
                is_same = _all_equal(known_rows[places[left]], rows[left])
                is_known[left[is_same]] = True
                left = left[~is_same]
    return pc.index_in(wanted, keys)


def rows_with(table: pa.Table, uids: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The rows of a table whose uid is one of `uids`, as they stand."""
    return table.filter(places_in(table["uid"], uids).is_valid())


def sorted_order(keys: pa.Table) -> pa.Array:
    """The order of rows by all columns, each ascending and nulls last, as `pc.sort_indices` gives it.

    It is faster where the first column holds keys.
    """
    order_by = [(name, "ascending") for name in keys.column_names]
    first = one_array(keys.column(0))
    valid = first.is_valid().to_numpy(zero_copy_only=False)
    rows = _fixed_rows(first.drop_null())
    if rows is None:
        return pc.sort_indices(keys, sort_keys=order_by)
    words = np.full(len(first), _AFTER_ALL)
    words[valid] = _words(rows)
    order = np.argsort(words)
    ties = np.flatnonzero(words[order[1:]] == words[order[:-1]])
    tied = np.union1d(ties, ties + 1)
    tied_rows = np.sort(order[tied])
    order[tied] = tied_rows[pc.sort_indices(keys.take(pa.array(tied_rows)), sort_keys=order_by).to_numpy()]
    return pa.array(order)


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The column as one array: one that lies in one chunk is not copied, as Arrow would."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _fixed_rows(texts: pa.Array) -> npt.NDArray[np.uint64] | None:
    """The bytes of texts (n, k) in words, where all have the same length of whole words; else None."""
    if not pa.types.is_string(texts.type) or texts.null_count or not len(texts):
        return None
    _, ends, data = texts.buffers()
    bounds = np.frombuffer(ends, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    size = int(bounds[1] - bounds[0])
    if not size or size % _WORD or (np.diff(bounds) != size).any():
        return None
    letters = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]
    return letters.view(np.uint64).reshape(len(texts), size // _WORD)


def _all_equal(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Whether all words of each row are equal (n,); those of one row are looked at together where numpy can."""
    equal = first == second
    together = np.dtype(f"u{equal.shape[1]}") if equal.shape[1] in (2, 4, 8) else None
    if together is None or not len(equal):
        return np.asarray(equal.all(axis=1))
    return np.asarray(equal.view(together).ravel() == np.frombuffer(b"\1" * together.itemsize, together)[0])


def _words(rows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The first bytes of each text as a number that rises as texts do."""
    return rows[:, 0].view(">u8").astype(np.uint64)


def is_text_type(kind: pa.DataType) -> bool:
    """Whether values of this type are texts, as keys are."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
