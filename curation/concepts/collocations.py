"""Words and pairs of neighbouring words in captions, counted exactly, and how strongly a pair belongs together.

Source: pointwise mutual information as nltk defines it for bigrams, which MetaCLIP v1 thresholds. Differs: a pair is
counted where matching would find it as an entry, so it never crosses a mark or a doubled space in faithful mode.
"""

import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Ints, column
from evenly.curation.concepts.matching import Mode, normalised
from evenly.curation.errors import ColumnsError

NO_SPACES = frozenset(
    {"zh", "cmn", "yue", "ja", "jpn", "th", "tha", "km", "khm", "lo", "lao", "my", "mya", "bo", "bod"}
)
"""Languages that put no spaces between words, where captions cannot be counted by them."""

_MARKS = re.compile(r"[,.;:?!`]")
_BLANK = re.compile(r"[ \t\n\r]")
_SHIFT = 32  # a pair is one number: the first word's in the upper half, the second's in the lower
_MERGE_AT = 2**20


class WordCounter:
    """Counts the words of captions and the pairs of neighbours among them, batch by batch.

    A word is what a one-word entry could match in `mode` and holds a letter or a digit; what does not (marks, a dash)
    parts its neighbours. What is held grows with distinct words and pairs (16 bytes a pair), not with captions.
    """

    def __init__(self, mode: Mode = "faithful") -> None:
        self._mode = mode
        self._ids: dict[str, int] = {}
        self._words: Ints = np.zeros(0, dtype=np.int64)
        self._pairs: tuple[Ints, Ints] = _nothing()
        self._waiting: list[tuple[Ints, Ints]] = []

    def add(self, captions: pa.Array) -> None:
        """Count the words and pairs of `captions` (strings); null holds none."""
        numbers: list[int] = []
        for caption in captions.to_pylist():
            words = _words(caption, self._mode) if caption else ()
            numbers.extend(self._ids.setdefault(word, len(self._ids)) if _is_word(word) else -1 for word in words)
            numbers.append(-1)
        ids = np.array(numbers, dtype=np.int64)
        counts = np.bincount(ids[ids >= 0], minlength=len(self._ids))
        counts[: len(self._words)] += self._words
        self._words = counts
        first, second = ids[:-1], ids[1:]
        is_pair = (first >= 0) & (second >= 0)
        keys, pairs = np.unique(first[is_pair] << _SHIFT | second[is_pair], return_counts=True)
        self._waiting.append((keys, pairs))
        if sum(len(waiting) for waiting, _ in self._waiting) > max(_MERGE_AT, len(self._pairs[0])):
            self._merge()

    def words(self) -> pa.Table:
        """Return [entry, count int64], sorted by entry."""
        return _sorted(pa.array(list(self._ids), pa.string()), self._words)

    def pairs(self) -> pa.Table:
        """Return [entry, count int64], an entry being two words and a space, sorted by entry."""
        self._merge()
        keys, counts = self._pairs
        words = pa.array(list(self._ids), pa.string())
        first, second = words.take(pa.array(keys >> _SHIFT)), words.take(pa.array(keys & (2**_SHIFT - 1)))
        return _sorted(pc.binary_join_element_wise(first, second, " "), counts)

    def _merge(self) -> None:
        keys = np.concatenate([self._pairs[0], *(keys for keys, _ in self._waiting)])
        counts = np.concatenate([self._pairs[1], *(counts for _, counts in self._waiting)])
        merged, places = np.unique(keys, return_inverse=True)
        sums = np.zeros(len(merged), dtype=np.int64)
        np.add.at(sums, places, counts)
        self._pairs, self._waiting = (merged, sums), []


def pair_pmi(pairs: pa.Table, words: pa.Table, total: int) -> pa.Array:
    """Return the PMI of each of `pairs` [entry, count], null where `words` [entry, count] lacks one of the two.

    log2(pair * total / (first * second)), `total` being the words of the corpus. The ratio is of exact integers and
    rounded once, so that a power of two gives its exponent: a threshold holds to the bit.
    """
    counts_by_word: dict[str, int] = dict(zip(words["entry"].to_pylist(), words["count"].to_pylist(), strict=True))
    values: list[float | None] = []
    entries, counts = column(pairs, "entry", pa.string()), column(pairs, "count", pa.int64())
    for start in range(0, len(entries), _MERGE_AT):
        part = (entries.slice(start, _MERGE_AT).to_pylist(), counts.slice(start, _MERGE_AT).to_pylist())
        for entry, count in zip(*part, strict=True):
            first, second = (counts_by_word.get(word, 0) for word in _two(entry))
            values.append(math.log2(count * total / (first * second)) if count and first and second else None)
    return pa.array(values, pa.float64())


def _words(caption: str, mode: Mode) -> list[str]:
    """The words of a caption in order, with an empty one wherever neighbours are parted."""
    if mode == "normalized":
        return normalised(caption).split(" ")
    parts = (_BLANK.split(part) for part in _MARKS.split(caption))
    return [word for words in parts for word in ("", *words)]


def _two(entry: str) -> list[str]:
    words = entry.split(" ")
    if len(words) != 2:
        raise ColumnsError(f"`pairs` must hold two words and a space between; got {entry!r:.80}. Correct that entry.")
    return words


def _is_word(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _sorted(entries: pa.Array, counts: Ints) -> pa.Table:
    return pa.table({"entry": entries, "count": pa.array(counts, pa.int64())}).sort_by("entry")


def _nothing() -> tuple[Ints, Ints]:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
