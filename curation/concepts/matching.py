"""Matching of captions with concepts: MetaCLIP v1's substring matching, and a mode that loses fewer.

MetaCLIP v1 pads each entry with a space on both sides and looks for it in the padded caption, after wrapping
`, . ; : ? ! `` ` `` of the caption in spaces. That equals: the entry's words, split at single spaces, are a run of the
caption's words split likewise. So a trie of words is enough; no automaton is needed.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np
import pyarrow as pa

from evenly.bounds import LocalPath, PairColumn
from evenly.curation.arrays import as_array, as_texts, is_compiled_for, text_buffers
from evenly.curation.concepts.equal_entries import NOTHING_LEFT, first_equal, normalised_keys, plurals_of
from evenly.curation.concepts.normalising import normalised, normalised_texts
from evenly.curation.errors import ColumnsError, RuleError

if TYPE_CHECKING:
    from evenly.curation.concepts.match_kernel import Trie

__all__ = [
    "BUNDLED",
    "WORDNET",
    "MatchRule",
    "Matcher",
    "Mode",
    "check_mode",
    "in_order",
    "never_found",
    "normalised",
    "unmatchable_because",
]

Mode = Literal["faithful", "normalized"]
Batch = TypeVar("Batch")
Result = TypeVar("Result")
WORDNET = "wordnet"
WORDNET_ALL = "wordnet_all"
BUNDLED = (WORDNET, WORDNET_ALL)
"""Lists that come with evenly: the nouns of WordNet, without words of grammar and single letters, and with them."""


BATCH_ROWS = 1 << 16
FEW = 1 << 21
"""Bytes of captions from which compiled matching is faster, loading numba included."""
_MARK = "[,.;:?!`]"
_TOUCHED = re.compile(f"{_MARK}[^ ]|[^ ]{_MARK}")
_CLOSE = re.compile(f"{_MARK} {_MARK}")
_MARKS = re.compile(_MARK)
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


@dataclass(frozen=True, kw_only=True)
class MatchRule:
    """The rule by which captions name concepts: of `wordnet`, the nouns of WordNet 3.0, or of a concept list.

    A list is what `evenly metadata build` wrote (.parquet), a text file with one concept per line, or JSON: a list, or
    an object of language -> list, whose languages are taken together.
    `plurals`, in normalized mode only, also finds a concept in the plural of its last word: on there, unless captions
    are matched by language. `wordnet` holds no English words of grammar and no single letters ("a", "or", "it"), which
    would take most draws; `wordnet_all` does, and a list of your own is taken as it stands.
    `language` names a column, the pool's or `detected_language` of the filter caption_language: a caption is then
    matched against the list of its language alone, by the rule of MetaCLIP 2.
    `unmatched` is drop, or keep: a pair whose given caption names nothing then goes on to where captions are chosen,
    and is dropped if the chosen one names nothing either. `texts` is captions, or regions: balancing is then over the
    entries that are labels of a picture's regions, and a pair without any is dropped once these are known.
    """

    metadata: LocalPath = WORDNET
    mode: Mode = "faithful"
    plurals: bool | None = None
    language: PairColumn | None = None
    unmatched: Literal["drop", "keep"] = "drop"
    texts: Literal["captions", "regions"] = "captions"

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.plurals is None:
            object.__setattr__(self, "plurals", self.mode == "normalized" and self.language is None)
        if self.plurals and self.mode == "faithful":
            raise RuleError("plurals needs mode normalized; got faithful")
        if self.plurals and self.language is not None:
            raise RuleError("plurals are of English and cannot go with language; leave one out")
        if self.metadata in BUNDLED and self.language is not None:
            raise RuleError(f"language needs metadata with a list per language; got {self.metadata}, which names none")


class Matcher:
    """Finds the entries that captions name; an entry's id is its position in `entries`.

    faithful: as MetaCLIP v1, which is case-sensitive and normalises nothing: "Black dog." names dog, not black dog.
    normalized: entries and captions both pass through `normalised` first; with `plurals`, an entry is also found
    in the plural of its last word ("black dogs", "boxes", "women"; common irregular forms only). Of entries that are
    then the same ("China", "china"; with `plurals` also "dog", "dogs") the first is found for all of them, and the
    others never; with `separate` each is found as if it were alone.
    """

    def __init__(
        self, entries: Sequence[str], mode: Mode = "faithful", *, plurals: bool = False, separate: bool = False
    ) -> None:
        check_mode(mode)
        if plurals and mode == "faithful":
            raise RuleError("`plurals` must be off in faithful mode; got on. Use mode normalized.")
        self._mode = mode
        self._forms, self._owners = _forms(entries, mode, plurals=plurals, separate=separate)

    def match(self, captions: pa.Array) -> pa.ListArray:
        """Return list<int32> per caption: the ids of the entries it names, ascending and each once; null names none."""
        runs = None if is_compiled_for(captions.nbytes, FEW) else self._runs
        texts = captions if self._mode == "faithful" else normalised_texts(captions)
        return entry_lists(*(runs or self._index).match(texts))

    @cached_property
    def _index(self) -> ConceptIndex:
        return word_index(self._forms, self._owners)

    @cached_property
    def _runs(self) -> WordRuns | None:
        return WordRuns.of(self._forms, self._owners)

    def match_batches(self, batches: Iterable[pa.Array], *, workers: int = 1) -> Iterator[pa.ListArray]:
        """Yield `match` of each batch, in order, by `workers` threads; `workers` + 1 batches are held at once."""
        return in_order(self.match, batches, workers)

    def match_table(self, texts: pa.Table, *, workers: int = 1) -> pa.ListArray:
        """The entries that each text in the first column names, list<int32>."""
        batches = (batch[0] for batch in texts.to_batches(max_chunksize=BATCH_ROWS))
        return pa.chunked_array(self.match_batches(batches, workers=workers), pa.list_(pa.int32())).combine_chunks()

    def has_list(self, _texts: pa.Table) -> pa.BooleanArray | None:
        """None: texts are matched whatever their language is."""
        return None


def in_order(function: Callable[[Batch], Result], batches: Iterable[Batch], workers: int) -> Iterator[Result]:
    """Yield the result of `function` for each batch, in order, by threads; one is taken when there is room for it."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="matching") as pool:
        for batch in batches:
            waiting.append(pool.submit(function, batch))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def check_mode(mode: str) -> None:
    """Raise RuleError where `mode` is none."""
    if mode not in get_args(Mode):
        raise RuleError(f"`mode` must be one of {', '.join(get_args(Mode))}; got {mode!r}. Correct it.")


def _forms(entries: Sequence[str], mode: Mode, *, plurals: bool, separate: bool) -> tuple[Sequence[str], Sequence[int]]:
    """The texts that are looked for, and the id of the entry that each stands for."""
    if mode == "faithful":
        return as_array(entries).to_pylist(), range(len(entries))
    keys = normalised_keys(entries)
    positions, plural_forms = plurals_of(keys) if plurals else ([], [])
    owners = range(len(keys)) if separate else first_equal(keys, (positions, plural_forms))
    owners_of_forms = [*owners, *(owners[position] for position in positions)]
    forms = dict.fromkeys(zip([*keys, *plural_forms], owners_of_forms, strict=True))
    return [form for form, _ in forms if form], [owner for form, owner in forms if form]


def unmatchable_because(entry: str, mode: Mode) -> str:
    """Return why no caption can match `entry` in `mode`, "" where one can if no entry of its list is the same."""
    if mode == "normalized":
        return "" if normalised(entry) else NOTHING_LEFT
    return never_found(f" {entry} ")


def never_found(pattern: str) -> str:
    """Return why no caption, once its marks are wrapped in spaces, can hold `pattern`; "" where one can."""
    if any(blank in pattern for blank in "\t\n\r"):
        return "holds_a_tab_or_line_break"
    if _TOUCHED.search(pattern):
        return "mark_inside_a_word"
    return "marks_one_space_apart" if _CLOSE.search(pattern) else ""
