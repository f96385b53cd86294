"""Matching of captions with concepts: MetaCLIP v1's substring matching, and a mode that loses fewer.

MetaCLIP v1 pads each entry with a space on both sides and looks for it in the padded caption, after wrapping
`, . ; : ? ! `` ` `` of the caption in spaces. That equals: the entry's words, split at single spaces, are a run of the
caption's words split likewise. So a trie of words is enough; no automaton is needed.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar, get_args

import pyarrow as pa

from evenly.bounds import LocalPath, PairColumn
from evenly.curation.arrays import is_compiled_for
from evenly.curation.concepts.equal_entries import NOTHING_LEFT, first_equal, normalised_keys, plurals_of
from evenly.curation.concepts.index import ConceptIndex, WordRuns, as_array, entry_lists, word_index
from evenly.curation.concepts.normalising import normalised, normalised_texts
from evenly.curation.errors import RuleError

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
