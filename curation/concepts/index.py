"""Texts as the tables that compiled matching reads: built once, then read by any number of threads."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import as_texts, text_buffers
from evenly.curation.errors import ColumnsError, RuleError

if TYPE_CHECKING:
    from evenly.curation.concepts.match_kernel import Trie

_MARKS = re.compile("[,.;:?!`]")
_SPACED = dict.fromkeys(map(ord, "\t\n\r"), " ")
MOST_WORDS = 32
"""Words of a text, above which a dictionary of its beginnings would be too large."""
MAX_NODES = 2**30
MAX_IDS = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class ConceptIndex:
    """A trie of texts, of their words or of their characters."""

    trie: "Trie"

    def match(self, captions: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return (ids, ends): of caption i, spaced, the owners of the texts in it are ids[ends[i]:ends[i + 1]].

        Ascending, each once. Words: the text's words are a run of the caption's. Characters: the text is a substring of
        the caption between two spaces. Null names none.
        """
        from evenly.curation.concepts.match_kernel import match_rows

        texts = text_buffers(as_texts(captions))
        ids, ends = match_rows(self.trie, texts.data, texts.offsets, texts.valid)
        return ids, ends


@dataclass(frozen=True, kw_only=True)
class WordRuns:
    """Texts in a dictionary, which matches as a ConceptIndex of their words does, without compiled code.

    owners: an id that stands for each text; further: the others of those for which several stand. beginnings: what
    texts of several words begin with, of each the first word, the first two and so on.
    """

    owners: Mapping[str, int]
    further: Mapping[str, Sequence[int]]
    beginnings: set[str]

    @classmethod
    def of(cls, texts: Sequence[str], owners: Sequence[int]) -> "WordRuns | None":
        """The index of `texts`; `owners` are their ids. None where a text has over MOST_WORDS words."""
        owner_of, further, beginnings = dict(zip(texts, owners, strict=True)), dict[str, list[int]](), set[str]()
        for text, owner, last in zip(texts, owners, map(owner_of.__getitem__, texts), strict=True):
            if owner != last:
                further.setdefault(text, []).append(owner)
        shorter = {text.rpartition(" ")[0] for text in owner_of if " " in text}
        for _ in range(MOST_WORDS - 1):
            beginnings |= shorter
            shorter = {text.rpartition(" ")[0] for text in shorter if " " in text}
        return None if shorter else cls(owners=owner_of, further=further, beginnings=beginnings)

    def match(self, captions: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """See `ConceptIndex.match`."""
        matches = [() if caption is None else self._named(caption) for caption in as_texts(captions).to_pylist()]
        ends = np.cumsum([0, *map(len, matches)])
        return np.array([owner for named in matches for owner in named], np.int32), ends

    def _named(self, caption: str) -> list[int]:
        words, named = _MARKS.sub(r" \g<0> ", caption.translate(_SPACED)).split(" "), set[int]()
        for start, first in enumerate(words):
            text, end = first, start + 1
            while True:
                if (owner := self.owners.get(text)) is not None:
                    named.update((owner, *self.further.get(text, ())))
                if end == len(words) or text not in self.beginnings:
                    break
                text, end = f"{text} {words[end]}", end + 1
        return sorted(named)


def word_index(texts: Sequence[str], owners: Sequence[int]) -> ConceptIndex:
    """Return the index of the words of `texts`, split at single spaces; `owners` are the ids that stand for them."""
    from evenly.curation.concepts.match_kernel import Trie, intern_words, link_units, widened

    buffers = text_buffers(as_array(texts))
    _check_size(int(buffers.offsets[-1]), len(texts))
    pool, numbers = widened(buffers.data), np.array(owners, np.int32)
    words, spans, units, ends = intern_words(pool, buffers.offsets)
    edges, marks, further = link_units(units, ends, numbers, words, len(spans))
    return ConceptIndex(trie=Trie(words, edges, marks, pool, spans, numbers, further))


def character_index(texts: Sequence[str], owners: Sequence[int]) -> ConceptIndex:
    """Return the index of the characters of `texts`, none of which may be empty."""
    from evenly.curation.concepts.match_kernel import Trie, link_units, widened

    units = np.frombuffer("".join(as_array(texts).to_pylist()).encode("utf-32-le"), np.int32).copy()
    _check_size(len(units), len(texts))
    ends = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    words, numbers = np.zeros((1, 2), np.uint64), np.array(owners, np.int32)
    edges, marks, further = link_units(units, ends, numbers, words, 0)
    pool, spans = widened(np.zeros(0, np.uint8)), np.zeros((0, 2), np.int64)
    return ConceptIndex(trie=Trie(words, edges, marks, pool, spans, numbers, further))


def as_array(entries: Sequence[str]) -> pa.Array:
    """Return `entries` as large_string."""
    try:
        return pa.array(entries, pa.large_string())
    except (UnicodeEncodeError, pa.ArrowInvalid) as error:
        raise RuleError(f"`entries` must be valid Unicode; {error}. Correct the concept list.") from error


def merged(*matches: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the (ids, ends) of two matches of the same captions, which no id has in common, as one."""
    from evenly.curation.concepts.match_kernel import merge_rows

    (ids, ends), (second_ids, second_ends) = matches
    merged_ids, merged_ends = merge_rows(ids, ends, second_ids, second_ends)
    return merged_ids, merged_ends


def entry_lists(ids: np.ndarray, ends: np.ndarray) -> pa.ListArray:
    """Return list<int32> of ids and ends."""
    if ends[-1] > MAX_IDS:
        raise ColumnsError(f"`captions` must name at most {MAX_IDS} entries; got {ends[-1]}. Match smaller batches.")
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), pa.array(ids))


def _check_size(units: int, texts: int) -> None:
    if 2 * (units + texts) >= MAX_NODES:
        raise RuleError(f"`entries` must be under {MAX_NODES // 2} bytes in all; got {units}. Split the concept list.")
