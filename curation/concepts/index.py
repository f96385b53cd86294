"""Texts as the tables that compiled matching reads: built once, then read by any number of threads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import as_texts, text_buffers
from evenly.curation.errors import ColumnsError, RuleError

if TYPE_CHECKING:
    from evenly.curation.concepts.match_kernel import Trie

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
