"""Matching of captions with the concepts of their language, in scripts with and without spaces: MetaCLIP 2.

MetaCLIP 2 pads an entry with a space as version 1 does, but not on a side whose edge character is CJK, Thai, Lao,
Burmese, Khmer, Tibetan or punctuation, and looks for it in the spaced caption. An entry that is padded on both sides
is matched by its words, any other by its characters. Stated here, since the paper's rule leaves it open: CJK is Han,
kana and bopomofo with their marks, not Hangul, which is written with spaces; punctuation is Unicode's category P.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import as_texts
from evenly.curation.concepts.equal_entries import NOTHING_LEFT, first_equal, normalised_keys, unmatchable_normalized
from evenly.curation.concepts.matching import (
    BATCH_ROWS,
    ConceptIndex,
    Mode,
    character_index,
    check_mode,
    entry_lists,
    in_order,
    merged,
    never_found,
    word_index,
)
from evenly.curation.concepts.normalising import normalised, normalised_texts
from evenly.curation.errors import ColumnsError

_WITHOUT_SPACES = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x19E0, 0x19FF),  # Khmer symbols
    (0x2E80, 0x312F),  # radicals, CJK marks, kana, bopomofo
    (0x31A0, 0x31FF),  # bopomofo, strokes, kana
    (0x3200, 0x9FFF),  # enclosed and squared, Han
    (0xA9E0, 0xA9FF),  # Burmese
    (0xAA60, 0xAA7F),  # Burmese
    (0xF900, 0xFAFF),  # Han
    (0xFE30, 0xFE4F),  # CJK marks
    (0xFF66, 0xFF9F),  # half-width kana
    (0x1AFF0, 0x1B16F),  # kana
    (0x20000, 0x3FFFF),  # Han
)
_UNMATCHABLE = pa.schema(dict.fromkeys(("language", "entry", "why"), pa.string()))
_SAME_AS = pa.field("same_as", pa.string())


class MultilingualMatcher:
    """Finds the entries of its own language that a caption names, by the rule of MetaCLIP 2.

    entries: those of all lists, each once, in order of first mention; an entry's id is its position there. A caption in
    a language without a list, or in none (null), names nothing; `knows` tells such captions, so that they can be
    counted. Modes as in `Matcher`; of entries of a language that are the same the one with the least id is found.
    """

    def __init__(self, entries_by_language: Mapping[str, Sequence[str]], mode: Mode = "faithful") -> None:
        check_mode(mode)
        self._mode = mode
        ids = _ids(entries_by_language)
        self._indices: dict[str, tuple[ConceptIndex, ConceptIndex]] = {}
        for language, entries in entries_by_language.items():
            own_entries = _by_id(entries, ids)
            self._indices[language] = _indexed(own_entries, [ids[entry] for entry in own_entries], mode)
        self.entries = tuple(ids)

    def knows(self, languages: pa.Array) -> pa.BooleanArray:
        """Return whether each language has a list; null has none."""
        return pc.is_in(languages, value_set=pa.array(list(self._indices), languages.type))

    def match(self, captions: pa.Array, languages: pa.Array) -> pa.ListArray:
        """Return list<int32> per caption: the ids of the entries of its language it names, ascending and each once."""
        if len(captions) != len(languages):
            raise ColumnsError(
                f"`captions` and `languages` must be equally long; got {len(captions)} and {len(languages)}."
                " Read both from the same batch."
            )
        texts = as_texts(captions) if self._mode == "faithful" else normalised_texts(captions)
        parts, rows = [], []
        for language, indices in self._indices.items():
            of_language = np.flatnonzero(
                pc.fill_null(pc.equal(languages, language), False).to_numpy(zero_copy_only=False)
            )
            if len(of_language):
                texts_here = texts.take(pa.array(of_language))
                parts.append(entry_lists(*merged(*(index.match(texts_here) for index in indices))))
                rows.append(of_language)
        rows.append(np.flatnonzero(~self.knows(languages).to_numpy(zero_copy_only=False)))
        parts.append(pa.array([[]] * len(rows[-1]), pa.list_(pa.int32())))
        return pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(rows))))

    def match_batches(
        self, batches: Iterable[tuple[pa.Array, pa.Array]], *, workers: int = 1
    ) -> Iterator[pa.ListArray]:
        """Yield `match` of each (captions, languages), as `Matcher.match_batches` does."""
        return in_order(lambda batch: self.match(*batch), batches, workers)

    def match_table(self, texts: pa.Table, *, workers: int = 1) -> pa.ListArray:
        """The same as `Matcher.match_table`, of languages in the second column."""
        parts = texts.to_batches(max_chunksize=BATCH_ROWS)
        batches = ((batch[0], batch[1].cast(pa.string())) for batch in parts)
        return pa.chunked_array(self.match_batches(batches, workers=workers), pa.list_(pa.int32())).combine_chunks()

    def has_list(self, texts: pa.Table) -> pa.BooleanArray:
        """Whether there is a list of each text's language."""
        return self.knows(texts[1].combine_chunks().cast(pa.string()))


def padded(entry: str) -> str:
    """Return `entry` with a space on each side whose edge character calls for one."""
    return ("" if _is_open(entry[:1]) else " ") + entry + ("" if _is_open(entry[-1:]) else " ")


def unmatchable_in_language(entry: str, mode: Mode) -> str:
    """Return why no caption can match `entry` by the rule of MetaCLIP 2, as `unmatchable_because` does."""
    if mode == "normalized":
        return "" if normalised(entry) else NOTHING_LEFT
    return never_found(padded(entry))


def unmatchable_by_language(entries_by_language: Mapping[str, Sequence[str]], mode: Mode) -> pa.Table:
    """Return [language, entry, why] for each entry that no caption whatsoever can match in `mode`, in order.

    In normalized mode `same_as` is the entry of the language that stands for it, null where nothing is left of it.
    """
    if mode == "normalized":
        ids = _ids(entries_by_language)
        rows = [
            (language, *reasons)
            for language, entries in entries_by_language.items()
            for reasons in unmatchable_normalized(_by_id(entries, ids))
        ]
        return pa.table([[row[column] for row in rows] for column in range(4)], schema=_UNMATCHABLE.append(_SAME_AS))
    unmatchable = [
        (language, entry, reason)
        for language, entries in entries_by_language.items()
        for entry in entries
        if (reason := unmatchable_in_language(entry, mode))
    ]
    return pa.table([[row[column] for row in unmatchable] for column in range(3)], schema=_UNMATCHABLE)


def _indexed(entries: list[str], owners: list[int], mode: Mode) -> tuple[ConceptIndex, ConceptIndex]:
    """Return the index of the entries that are padded on both sides, and that of the others."""
    keys, is_found = entries, [True] * len(entries)
    if mode == "normalized":
        keys = normalised_keys(entries)
        is_found = [
            bool(key) and first == place for place, (key, first) in enumerate(zip(keys, first_equal(keys), strict=True))
        ]
    kept = [(key, padded(key), owner) for key, owner, findable in zip(keys, owners, is_found, strict=True) if findable]
    closed = [(key, owner) for key, pattern, owner in kept if pattern == f" {key} "]
    opened = [(pattern, owner) for key, pattern, owner in kept if pattern != f" {key} "]
    return (
        word_index([key for key, _ in closed], [owner for _, owner in closed]),
        character_index([pattern for pattern, _ in opened], [owner for _, owner in opened]),
    )


def _ids(entries_by_language: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the id of each entry of all lists."""
    entries = dict.fromkeys(entry for list_entries in entries_by_language.values() for entry in list_entries)
    return {entry: number for number, entry in enumerate(entries)}


def _by_id(entries: Sequence[str], ids: Mapping[str, int]) -> list[str]:
    """Return `entries`, each once, in the order of their ids: which one stands for others is then the same anywhere."""
    return sorted(set(entries), key=ids.__getitem__)


def _is_open(edge: str) -> bool:
    """Return whether no space belongs beside this character; the edge of an empty entry is none, and closed."""
    if not edge:
        return False
    return unicodedata.category(edge)[0] == "P" or any(first <= ord(edge) <= last for first, last in _WITHOUT_SPACES)
