"""Words of a text, folded so that singular and plural meet, and the class names that occur among them."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SIBILANT_PLURALS = ("ches", "shes", "xes", "sses")
_PLURAL_ENDINGS = (
    ("ches", "ch"), ("shes", "sh"), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ies", "y"), ("men", "man"), ("s", ""),
)  # fmt: skip
"""WordNet's rules of detachment for nouns (morphy(7WN)), the longer ending first."""
SMALL_WORDS = frozenset(
    {
        *("a", "an", "the", "and", "or", "of", "in", "on", "at", "by", "to", "for", "from", "with", "as", "into"),
        *("that", "which", "is", "are", "be", "has", "have", "having", "it", "its", "their", "they", "this", "these"),
        *("usually", "often", "typically", "especially", "most", "any", "one", "such", "other", "can", "may", "when"),
    }
)
"""Words that say nothing by themselves."""


@lru_cache(maxsize=4096)  # a phrase is held against many rules, each against the same names and instruction
def words_of(text: str) -> tuple[str, ...]:
    """The words of a text in order: case folded, plurals cut to a stem that singular and plural share in most cases."""
    return tuple(_stem(word) for word in _WORD.findall(_plain(text)))


def word_forms(text: str) -> frozenset[str]:
    """The words of a long text in the forms that stand there, case folded, each once."""
    return frozenset(plain_words(text))


def plain_words(text: str) -> list[str]:
    """The words of a text in order, case folded."""
    return _WORD.findall(_plain(text))


def stems_of(forms: Iterable[str]) -> frozenset[str]:
    """The words that `words_of` makes of these forms."""
    return frozenset(map(_stem, forms))


def singulars_of(name: str, irregular: Mapping[str, str]) -> tuple[str, ...]:
    """The names of which `name` may be the plural, the likeliest first; none where it ends like no plural.

    Inflected is the last word of the name, or of what stands before its first "of" ("works of art"). `irregular` has
    singulars by plural. Whether they are words is for the caller to look up.
    """
    head, preposition, complement = name.casefold().partition(" of ")
    beginning, blank, word = head.rpartition(" ")
    regular = [
        word.removesuffix(plural) + singular
        for plural, singular in _PLURAL_ENDINGS
        if word.endswith(plural) and len(word) > len(plural) + 1 and not word.endswith("ss")
    ]
    words = [irregular[word], *regular] if word in irregular else regular
    return tuple(beginning + blank + singular + preposition + complement for singular in words)


def other_names_in(text: str, class_name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names of other classes that a text about `class_name` gives away, in order of first occurrence.

    A name inside an occurrence of the own name does not count (a "fire truck" is no "truck"), nor one that is part of
    the own name wherever it stands ("a large truck" is fair for a fire truck).
    """
    words, own_words = words_of(text), words_of(class_name)
    own_places = set(_places(words, own_words))
    matches: list[str] = []
    for start, stop, name in _occurrences(words, _index(tuple(names))):
        name_words = words_of(name)
        inside = any(place <= start and stop <= place + len(own_words) for place in own_places)
        if name_words != own_words and not inside and not set(_places(own_words, name_words)) and name not in matches:
            matches.append(name)
    return tuple(matches)


def longest_shared_run(text: str, other_text: str) -> int:
    """Length of the longest run of words that two texts share."""
    left, right = words_of(text), words_of(other_text)
    longest = 0
    lengths = [0] * (len(right) + 1)
    for word in left:
        lengths = [0, *(lengths[place] + 1 if word == candidate else 0 for place, candidate in enumerate(right))]
        longest = max(longest, *lengths)
    return longest


def loops(text: str) -> bool:
    """Whether a text goes round in circles: a word three times in a row, or half or more of its words said before."""
    words = words_of(text)
    in_a_row = any(words[place] == words[place + 1] == words[place + 2] for place in range(len(words) - 2))
    return in_a_row or (len(words) >= 6 and len(set(words)) * 2 <= len(words))


def says_twice(text: str) -> bool:
    """Whether a word occurs more than once, small words aside."""
    words = [word for word in words_of(text) if word not in SMALL_WORDS]
    return len(set(words)) < len(words)


def _occurrences(words: tuple[str, ...], index: Mapping[tuple[str, ...], str]) -> Iterator[tuple[int, int, str]]:
    longest = max(map(len, index), default=0)
    for start in range(len(words)):
        for stop in range(start + 1, min(start + longest, len(words)) + 1):
            if (name := index.get(words[start:stop])) is not None:
                yield start, stop, name


def _places(words: tuple[str, ...], part: tuple[str, ...]) -> Iterator[int]:
    """Positions at which `part` stands in `words`; none for an empty part."""
    return (place for place in range(len(words) - len(part) + 1) if part and words[place : place + len(part)] == part)


@lru_cache(maxsize=8)
def _index(names: tuple[str, ...]) -> Mapping[tuple[str, ...], str]:
    index: dict[tuple[str, ...], str] = {}
    for name in names:
        if words := words_of(name):
            index.setdefault(words, name)
    return index


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(_SIBILANT_PLURALS):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
