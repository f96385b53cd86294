"""Candidates for close rows: those whose codes agree in at least one of several seeded choices of bits.

Locality-sensitive hashing (Indyk and Motwani 1998) over packed codes. A table looks at some bits of the code, and rows
that agree in all of them fall in one bucket. Whether two rows are candidates follows from their two codes and the seed
alone: an added row never takes a candidate away from others, and no bucket, however large, is cut off or sampled. A
large bucket costs the square of its size.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from evenly.curation.arrays import Flags, Ints, Words

CHUNK = 1 << 20  # pairs held at once
_HELD_BITS = 20


def candidate_pairs(
    codes: Words, masks: Words, *, max_distance: int | None = None, fresh: Flags | None = None
) -> Iterator[tuple[Ints, Ints]]:
    """Yield all pairs (i, j), i < j, of `codes` (n, w) that agree under one of `masks` (t, w), each pair once.

    With `max_distance`, only those that differ in at most that many bits of the code; with `fresh` (n,), only those of
    which at least one row is. Pairs come in parts of at most CHUNK, in no order that means anything.
    """
    for table in range(len(masks)):
        keys = table_keys(codes, masks[table])
        order = np.argsort(keys) if fresh is None else _shared_with(keys, fresh)
        yield from pairs_of_table(order, keys[order], codes, masks[: table + 1], max_distance=max_distance, fresh=fresh)


def table_keys(codes: Words, mask: Words) -> Words:
    """Return a number (n,) for each of `codes` (n, w): rows that agree under `mask` (w,) share it."""
    from evenly.curation.duplicates.kernels import bucket_keys

    keys = np.empty(len(codes), dtype=np.uint64)
    bucket_keys(codes, mask, keys)
    return keys


def pairs_of_table(
    order: Ints,
    keys: Words,
    codes: Words,
    masks: Words,
    *,
    max_distance: int | None = None,
    fresh: Flags | None = None,
) -> Iterator[tuple[Ints, Ints]]:
    """Yield the `candidate_pairs` that agree under the last of `masks` and none before it.

    `keys` (m,) are sorted and those of the rows `order`; of equal keys, those of fresh rows come first.
    """
    from evenly.curation.duplicates.kernels import emit_pairs

    n, width = codes.shape
    limit = 64 * width if max_distance is None else max_distance
    wanted = np.ones(n, dtype=np.bool_) if fresh is None else fresh
    left, right = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    place = np.array([0, 1], dtype=np.int64)
    while place[0] < len(order):
        count = emit_pairs(order, keys, codes, wanted, masks[:-1], limit, place, left, right)
        if count:
            yield left[:count].copy(), right[:count].copy()


def shared_keys(keys: Words) -> Flags:
    """Whether each of sorted `keys` (n,) is that of a neighbour too."""
    is_shared = np.zeros(len(keys), dtype=np.bool_)
    equal = keys[1:] == keys[:-1]
    is_shared[1:] |= equal
    is_shared[:-1] |= equal
    return is_shared


def bit_masks(tables: int, bits: int, *, width: int, key: str) -> Words:
    """Return `tables` masks (tables, width / 64), each of `bits` of `width` bits, drawn by a hash of `key`."""
    masks = np.zeros((tables, width // 64), dtype=np.uint64)
    for table in range(tables):
        order = np.argsort(seeded_words(f"{key}|mask {table}", width), kind="stable")[:bits].astype(np.uint64)
        np.bitwise_or.at(masks[table], (order // 64).astype(np.int64), np.uint64(1) << order % 64)
    return masks


def word_masks(width: int) -> Words:
    """Return a mask (width, width) per word of a code: a table looks at one whole word."""
    return np.where(np.eye(width, dtype=np.bool_), ~np.uint64(0), np.uint64(0))


def seeded_words(key: str, count: int) -> Words:
    """Return `count` random 64-bit numbers: SHAKE-256 of `key`, the same on every machine and in every version."""
    return np.frombuffer(hashlib.shake_256(key.encode()).digest(8 * count), dtype="<u8").astype(np.uint64)


def mixed(words: Words) -> Words:
    """Return 64-bit numbers whose bits are spread over the whole word: the finalizer of MurmurHash3."""
    words = (words ^ words >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)
    words = (words ^ words >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)
    return words ^ words >> np.uint64(33)


def _shared_with(keys: Words, fresh: Flags) -> Ints:
    """Return the rows whose key may be that of a fresh row, in the order of keys; of equal keys fresh rows first."""
    has_fresh = np.zeros(1 << _HELD_BITS, dtype=np.bool_)
    tops = (keys >> np.uint64(64 - _HELD_BITS)).astype(np.int64)
    has_fresh[tops[fresh]] = True
    rows = np.flatnonzero(has_fresh[tops])
    return rows[np.lexsort((~fresh[rows], keys[rows]))]
