"""Captions that hold a word or phrase of a list which the user gives. The list's content shows up nowhere."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError

_WORD = re.compile(r"\w+")
_SCREENED = 32  # captions that are looked through at once: most hold no blocked word
SHOWN = 12  # hexadecimal digits of a list's hash in a reason


@dataclass(frozen=True, kw_only=True)
class CaptionBlocklist:
    """Drop captions that hold an entry of the list in `file`: one word or phrase a line.

    Words are compared whole, in NFKC and case folded, whatever stands between them: "bad word" is found in
    "BAD, word!", and not in "badwords". `sha256` of the file, where given, must be that of the file which is found.
    """

    file: str
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.file:
            raise RuleError("`file` must name a list of words; got nothing. Name it.")


@dataclass(frozen=True)
class BlockedWords:
    """Phrases as runs of words, by their first word."""

    phrases: dict[str, set[tuple[str, ...]]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, entries: Iterable[str]) -> "BlockedWords":
        """Take the words of each entry; raises RuleError for one that has none, and where there is no entry."""
        phrases: dict[str, set[tuple[str, ...]]] = {}
        for number, entry in enumerate(entries, start=1):
            words = _words(entry)
            if not words:
                raise RuleError(f"entries of a list of words must hold a word; number {number} does not. Remove it.")
            phrases.setdefault(words[0], set()).add(words)
        if not phrases:
            raise RuleError("a list of words must hold an entry; it has none. Leave the filter out.")
        return cls(phrases)


def measure_blocklist(batch: pa.Table, rule: CaptionBlocklist, blocked: BlockedWords) -> pa.Array:  # noqa: ARG001 - the shape of a filter
    """Return how many words of each `caption` begin a blocked phrase, as doubles."""
    captions = pc.fill_null(column(batch, "caption", pa.string()), "").to_pylist()
    values = np.zeros(len(captions))
    for start in range(0, len(captions), _SCREENED):
        screened = captions[start : start + _SCREENED]
        if not blocked.phrases.keys().isdisjoint(_words("\n".join(screened))):  # no word goes across a line's end
            values[start : start + _SCREENED] = [_found(_words(caption), blocked) for caption in screened]
    return pa.array(values)


def judge_blocklist(values: pa.Array, rule: CaptionBlocklist) -> Decisions:
    """Judge counts: any but 0 goes as blocked_words, with the beginning of the list's hash."""
    reason = f"blocked_words:{rule.sha256[:SHOWN]}"
    return Decisions.of(reason=pc.if_else(pc.greater(values, 0), reason, ""), value=values)


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _found(words: tuple[str, ...], blocked: BlockedWords) -> float:
    starts = ((start, blocked.phrases.get(word, ())) for start, word in enumerate(words))
    return float(
        sum(any(words[place : place + len(phrase)] == phrase for phrase in phrases) for place, phrases in starts)
    )
