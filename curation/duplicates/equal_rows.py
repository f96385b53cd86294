"""Rows that are equal to the byte: found by a hash, compared in full."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from evenly.curation.arrays import Bytes, Flags, Ints, Words
from evenly.curation.duplicates.lsh import mixed

_BATCH = 8192


def equal_runs(arrays: Sequence[npt.NDArray[np.generic]], usable: Flags) -> tuple[tuple[Ints, Ints], Ints]:
    """Return ((i, j), firsts): each usable row with the next one that is equal in all `arrays`, and the others.

    `firsts`, sorted, are the usable rows that no pair names as its second: a placeholder picture that stands a
    thousand times gives a thousand pairs, not half a million, and is looked for once.
    """
    rows = np.flatnonzero(usable)
    keys = array_keys(arrays)
    order = rows[np.argsort(keys[rows], kind="stable")]
    places = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    left, right = order[places], order[places + 1]
    is_equal = np.ones(len(places), dtype=np.bool_)
    for array in arrays:
        for begin in range(0, len(places), _BATCH):
            part = slice(begin, begin + _BATCH)
            is_equal[part] &= (_bytes(array[left[part]]) == _bytes(array[right[part]])).all(axis=1)
    left, right = left[is_equal], right[is_equal]
    return (left, right), np.setdiff1d(rows, right, assume_unique=True)


def array_keys(arrays: Sequence[npt.NDArray[np.generic]]) -> Words:
    """A 64-bit hash (n,) of the bytes of each row of all `arrays`, whose rows are as many."""
    keys = np.zeros(len(arrays[0]), dtype=np.uint64)
    for array in arrays:
        for begin in range(0, len(array), _BATCH):
            part = slice(begin, begin + _BATCH)
            keys[part] = _hashed(array[part], keys[part])
    return keys


def text_keys(texts: Iterable[str]) -> Words:
    """A 64-bit hash (n,) of each of `texts`."""
    hashes = (xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in texts)
    return np.fromiter(hashes, dtype=np.uint64)


def _hashed(array: npt.NDArray[np.generic], keys: Words) -> Words:
    raw = _bytes(array)
    padded = np.zeros((len(raw), -(-raw.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : raw.shape[1]] = raw
    for word in padded.view("<u8").T:
        keys = mixed(keys ^ word)
    return keys


def _bytes(array: npt.NDArray[np.generic]) -> Bytes:
    return np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
