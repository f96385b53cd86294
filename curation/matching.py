"""Which concepts a caption names: MetaCLIP v1's substring matching, and a mode that loses fewer.

MetaCLIP v1 pads each entry with a space on both sides and looks for it in the padded caption, after wrapping
`, . ; : ? ! `` ` `` of the caption in spaces. That equals: the entry's words, split at single spaces, are a run of the
caption's words split likewise. So a dictionary from first word to runs is enough; no automaton is needed.
"""

import itertools
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from curation.errors import RuleError

Mode = Literal["faithful", "normalized"]

_WRAPPED = ",.;:?!`"
_SPACING = {ord(mark): f" {mark} " for mark in _WRAPPED} | {ord(blank): " " for blank in "\t\n\r"}
_KEPT_AFTER_A_LETTER = re.compile(r"(?<=\w)[+#]+(?!\w)")  # C++, C#


class Matcher:
    """Finds the entries that captions name; an entry's id is its position in `entries`.

    faithful: as MetaCLIP v1, which is case-sensitive and normalises nothing: "Black dog." names dog, not black dog.
    normalized: entries and captions both pass through `normalised` first; with `plurals`, an entry is also found
    in the plain plural of its last word ("black dogs", "boxes", "cherries"; no irregular forms).
    """

    def __init__(self, entries: Sequence[str], mode: Mode = "faithful", *, plurals: bool = False) -> None:
        if mode not in get_args(Mode):
            raise RuleError(f"`mode` must be one of {', '.join(get_args(Mode))}; got {mode!r}. Correct the recipe.")
        if plurals and mode == "faithful":
            raise RuleError("`plurals` must be off in faithful mode; got on. Use mode normalized.")
        self._prepare: Callable[[str], str] = _spaced if mode == "faithful" else normalised
        self._ids: dict[str, list[int]] = {}
        self._lengths: dict[str, list[int]] = {}
        for number, entry in enumerate(entries):
            self._index(entry, number, normalize=mode == "normalized", plurals=plurals)

    def match(self, captions: pa.Array) -> pa.ListArray:
        """Return list<int32> per caption: the ids of the entries it names, ascending and each once; null names none."""
        offsets = np.zeros(len(captions) + 1, dtype=np.int32)
        found: list[int] = []
        for row, caption in enumerate(captions.to_pylist()):
            if caption is not None:
                found.extend(self._match_one(caption))
            offsets[row + 1] = len(found)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(found, type=pa.int32()))

    def _match_one(self, caption: str) -> list[int]:
        words = self._prepare(caption).split(" ")
        hits: set[int] = set()
        for start, word in enumerate(words):
            for length in self._lengths.get(word, ()):
                run = word if length == 1 else " ".join(words[start : start + length])
                hits.update(self._ids.get(run, ()))
        return sorted(hits)

    def _index(self, entry: str, number: int, *, normalize: bool, plurals: bool) -> None:
        key = normalised(entry) if normalize else entry
        if normalize and not key:
            return
        for form in {key, *(_plurals(key) if plurals else ())}:
            words = form.split(" ")
            lengths = self._lengths.setdefault(words[0], [])
            if len(words) not in lengths:
                lengths.append(len(words))
            self._ids.setdefault(form, []).append(number)


def normalised(text: str) -> str:
    """Return `text` in NFKC and case-folded, marks and symbols as spaces, white space collapsed.

    `+` and `#` at the end of a word stay (C++, C#); invisible format characters (soft hyphen, joiners) go.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = {at for match in _KEPT_AFTER_A_LETTER.finditer(folded) for at in range(*match.span())}
    characters = []
    for at, character in enumerate(folded):
        category = unicodedata.category(character)
        if category == "Cf":
            continue
        blank = at not in kept and category[0] in "PSZC"
        characters.append(" " if blank else character)
    return " ".join("".join(characters).split())


def unmatchable_because(entry: str, mode: Mode) -> str:
    """Return why no caption can match `entry` in `mode`, "" where one can."""
    if mode == "normalized":
        return "" if normalised(entry) else "nothing_left_after_normalising"
    if not entry:
        return ""  # two spaces in a row match it
    if any(blank in entry for blank in "\t\n\r"):
        return "holds_a_tab_or_line_break"
    words = entry.split(" ")
    if any(mark in word for word in words if len(word) > 1 for mark in _WRAPPED):
        return "mark_inside_a_word"
    marks = [len(word) == 1 and word in _WRAPPED for word in words]
    if any(first and second for first, second in itertools.pairwise(marks)):
        return "marks_one_space_apart"
    return ""


def _spaced(text: str) -> str:
    """Return `text` as MetaCLIP v1 spaces it, without the space that it adds at both ends."""
    return text.translate(_SPACING)


def _plurals(entry: str) -> list[str]:
    """Return the plain plurals of the last word of `entry`; none where it is short, no plain word or one already."""
    if not re.search(r"[a-z]{3,}$", entry) or re.search(r"[^s]s$", entry):
        return []
    if re.search(r"[^aeiou]y$", entry):
        return [entry[:-1] + "ies"]
    return [entry + "es"] if re.search(r"(s|x|z|ch|sh)$", entry) else [entry + "s"]
