"""Candidates for close rows, whose codes agree in one of several seeded choices of bits; and the recall of a search.

Locality-sensitive hashing (Indyk and Motwani 1998) over packed codes. A table looks at some bits of the code, and rows
that agree in all of them fall in one bucket. Whether two rows are candidates follows from their two codes and the seed
alone: an added row never takes a candidate away from others, and no bucket, however large, is cut off or sampled. A
large bucket costs the square of its size, but most of its pairs no more than comparing two signatures of a few words.

Rows that are equal to the byte need no search: they have one hash, and are then compared in full. For the recall some
rows, drawn by hash, are compared with all others.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from evenly.curation.arrays import Bytes, Flags, Floats, Ints, Words
from evenly.curation.draws import draws, wilson_interval
from evenly.curation.duplicates.merging import Forest, Pairs, components

CHUNK = 1 << 20  # pairs held at once
_BATCH = 8192
_MOST_ROWS = 1000  # that recall is measured on


@dataclass(kw_only=True, eq=False)
class Signatures:
    """What candidates must be near in besides: cheap to compare, and true of all that are looked for.

    words (n, s): the signatures of two candidates differ in at most the sum of their two `allowed` (n,) bits.
    allowed_share: the share of these allowances that is left to a link as weak as weights (m,) say; without it links
    that are already there save nothing. candidates: how many pairs there were, counted where they are yielded.
    """

    words: Words
    allowed: Floats
    allowed_share: Callable[[Floats], Floats] | None = None
    candidates: int = 0
    _component: Ints | None = None
    _shares: Floats | None = None

    @classmethod
    def within(cls, codes: Words, max_distance: int | None) -> "Signatures":
        """Of codes (n, w) themselves, which differ in at most `max_distance` bits; None: in any number."""
        words = codes[:, :0] if max_distance is None else codes
        return cls(words=words, allowed=np.full(len(codes), (max_distance or 0) / 2))

    def skip_weaker(self, forest: Forest, rows: Ints | None = None) -> None:
        """Yield no more pairs that would be weaker than all links that join them in a forest: they are not in it.

        rows (n,): where the signatures stand among the forest's rows; None: they are those.
        """
        if self.allowed_share is not None and (joined := forest.joined()) is not None:
            component, weakest = joined
            self._component = component if rows is None else component[rows]
            self._shares = self.allowed_share(weakest)

    def known(self) -> tuple[Ints, Floats]:
        """The component (n,) of each row, and the share of allowances in each component; each alone as yet."""
        if self._component is None or self._shares is None:
            return np.arange(len(self.allowed)), np.ones(1)
        return self._component, self._shares


def candidate_pairs(codes: Words, masks: Words, *, signatures: Signatures | None = None) -> Iterator[Pairs]:
    """Yield all pairs (i, j), i < j, of `codes` (n, w) that agree under one of `masks` (t, w), each pair once.

    Where given, only those that `signatures` allow. Pairs come in parts of at most CHUNK, in no order that means
    anything.
    """
    for table in range(len(masks)):
        keys = table_keys(codes, masks[table])
        order = np.argsort(keys)
        yield from pairs_of_table(order, keys[order], codes, masks[: table + 1], near=signatures)


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
    near: Signatures | None = None,
    fresh: Flags | None = None,
) -> Iterator[Pairs]:
    """Yield the `candidate_pairs` that agree under the last of `masks` and none before it.

    `keys` (m,) are sorted and those of the rows `order`; of equal keys, those of fresh rows come first.
    """
    from evenly.curation.duplicates.kernels import emit_pairs

    near = Signatures.within(codes, None) if near is None else near
    wanted = np.ones(len(order), dtype=np.bool_) if fresh is None else fresh[order]
    left, right = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64)
    place = np.array([0, 1, 0], dtype=np.int64)
    emit = partial(emit_pairs, order, keys, codes, wanted, masks[:-1], near.words[order], near.allowed[order])
    while place[0] < len(order):
        place[2] = 0
        count = emit(*near.known(), place, left, right)
        near.candidates += int(place[2])
        if count:
            yield left[:count].copy(), right[:count].copy()


def in_batches(pairs: Iterable[Pairs], n: int) -> Iterator[Pairs]:
    """Yield the same pairs in parts of n to 2 n, the last one smaller."""
    batch, count = list[Pairs](), 0
    for left, right in pairs:
        for start in range(0, len(left), n):
            batch.append((left[start : start + n], right[start : start + n]))
            count += len(batch[-1][0])
            if count >= n:
                yield np.concatenate([side for side, _ in batch]), np.concatenate([side for _, side in batch])
                batch, count = [], 0
    if batch:
        yield np.concatenate([side for side, _ in batch]), np.concatenate([side for _, side in batch])


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


def equal_runs(arrays: Sequence[npt.NDArray[np.generic]], usable: Flags) -> tuple[Pairs, Ints]:
    """Return ((i, j), first rows): each usable row with the next one that is equal in all `arrays`, and the others.

    First rows, sorted, are the usable rows that no pair names as its second: a placeholder picture that stands a
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


def value_numbers(values: pa.Array) -> Ints:
    """A number (n,) for each value, one for equal values; -1 for null."""
    coded = values.dictionary_encode().indices.fill_null(-1)
    return np.asarray(coded.to_numpy(zero_copy_only=False), dtype=np.int64)


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


@dataclass(frozen=True, kw_only=True)
class Recall:
    """The share of duplicates that a search found, and the rows that it was measured on.

    notes: `recall`, None where the drawn rows have no duplicates; under `recall_sample` rows, twins, found and a 95 %
    interval. compared: [uid, twin, found], sorted: the drawn rows and each of their duplicates, null where one has
    none.
    """

    notes: dict[str, Any]
    compared: pa.Table


def measure_recall(
    uids: pa.Array,
    searched: Ints,
    edges: Pairs,
    all_duplicates: Callable[[Ints, Ints], Pairs],
    *,
    seed: int,
    step: str,
    comparisons: int,
) -> Recall:
    """Measure how many of all duplicates of some rows are in one component of the `edges` with them.

    Of the rows that were `searched`, some are drawn by a hash of their uid: as many as `comparisons` with all of them
    allow, at most 1,000. `all_duplicates` compares rows with others, here these with all that were searched.
    """
    drawn, _ = smallest_draws(uids.take(pa.array(searched)), seed=seed, step=step)
    rows = np.sort(searched[drawn[: drawn_count(len(searched), comparisons)]])
    duplicates = np.unique(np.stack(all_duplicates(rows, searched), axis=1), axis=0)
    component = components(len(uids), *edges)
    return recall_among(uids, rows, duplicates, component)


def smallest_draws(uids: pa.Array, *, seed: int, step: str) -> tuple[Ints, Floats]:
    """Return the 1,000 rows of `uids` with the smallest draws, in their order, and these draws."""
    drawn = draws(seed=seed, step=step, uids=uids.to_pylist(), entries=["recall"] * len(uids))
    order = np.argsort(drawn, kind="stable")[:_MOST_ROWS]
    return order.astype(np.int64), drawn[order]


def drawn_count(n: int, comparisons: int) -> int:
    """The number of `n` searched rows that are compared with all of them."""
    return min(_MOST_ROWS, max(1, comparisons // max(n, 1)))


def recall_among(uids: pa.Array, rows: Ints, duplicates: Ints, component: Ints) -> Recall:
    """The recall over all `duplicates` (k, 2), sorted, of the drawn `rows`; `component` (n,) joins some."""
    joined = component[duplicates[:, 0]] == component[duplicates[:, 1]]
    n_found = int(joined.sum())
    sample = {
        "rows": len(rows),
        "twins": len(duplicates),
        "found": n_found,
        "interval": _interval(n_found, len(duplicates)),
    }
    notes = {"recall": round(n_found / len(duplicates), 4) if len(duplicates) else None, "recall_sample": sample}
    return Recall(notes=notes, compared=_compared(uids, rows, duplicates, joined))


def _interval(n_found: int, total: int) -> list[float]:
    """The 95 % interval [low, high] of a share, 4 digits; [0, 1] where nothing was counted."""
    return [round(end, 4) for end in wilson_interval(n_found / total, total)] if total else [0.0, 1.0]


def _compared(uids: pa.Array, rows: Ints, duplicates: Ints, joined: Flags) -> pa.Table:
    """The table of drawn `rows`, each with each of its `duplicates` (k, 2), k of which are `joined`."""
    pairs = np.concatenate([duplicates, duplicates[:, ::-1]])
    drawn = np.isin(pairs[:, 0], rows)
    pairs, is_found = pairs[drawn], np.concatenate([joined, joined])[drawn]
    without_twin = np.setdiff1d(rows, pairs[:, 0])
    pairs = np.concatenate([pairs, np.stack([without_twin, without_twin], axis=1)])
    has_none = np.arange(len(pairs)) >= len(is_found)
    table = pa.table(
        {
            "uid": uids.take(pa.array(pairs[:, 0])),
            "twin": uids.take(pa.array(pairs[:, 1], mask=has_none)),
            "found": pa.array(np.concatenate([is_found, np.zeros(len(without_twin), np.bool_)]), mask=has_none),
        }
    )
    return table.take(pa.array(np.lexsort((pairs[:, 1], pairs[:, 0]))))
