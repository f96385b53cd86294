"""Entries that normalized mode cannot tell apart: the first of them stands for all, so that a concept counts once."""

import re
from collections.abc import Sequence

from evenly.curation.concepts.index import as_array
from evenly.curation.concepts.normalising import normalised_texts

NOTHING_LEFT = "nothing_left_after_normalising"
SAME_AS_EARLIER = "same_as_an_earlier_entry"


def normalised_keys(entries: Sequence[str]) -> list[str]:
    """Return the text that normalized mode searches for, per entry; "" where nothing is left, which matches nothing."""
    keys: list[str] = normalised_texts(as_array(entries)).to_pylist()
    return keys


def first_equal(keys: Sequence[str], *, plurals: bool = False) -> list[int]:
    """Return, per key, the position of the first that is the same: its own where there is none before it.

    Keys are the same if they are equal or, with `plurals`, if one is a plural of the other. The plural of
    several (axes: ax, axe) goes with the first of them, and these stay apart.
    """
    singulars: dict[str, str] = {}
    if plurals:
        for key in keys:
            for plural in english_plurals(key):
                singulars.setdefault(plural, key)
    first: dict[str, int] = {}
    return [first.setdefault(singulars.get(key, key), position) for position, key in enumerate(keys)]


def unmatchable_normalized(entries: Sequence[str], *, plurals: bool = False) -> list[tuple[str, str, str | None]]:
    """Return (entry, why, the entry that stands for it or None) of those that normalized mode never finds, in order."""
    keys = normalised_keys(entries)
    unmatchable: list[tuple[str, str, str | None]] = []
    for position, first in enumerate(first_equal(keys, plurals=plurals)):
        if not keys[position]:
            unmatchable.append((entries[position], NOTHING_LEFT, None))
        elif first != position:
            unmatchable.append((entries[position], SAME_AS_EARLIER, entries[first]))
    return unmatchable


_IRREGULAR = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "louse": "lice",
    "ox": "oxen",
    "die": "dice",
    "cactus": "cacti",
    **{word: word[:-1] + "ves" for word in ("leaf", "loaf", "thief", "sheaf", "calf", "half", "elf", "shelf", "wolf")},
    **{word: word[:-1] + "ves" for word in ("scarf", "hoof", "wharf")},
    **{word: word[:-2] + "ves" for word in ("knife", "wife", "life")},
}


def english_plurals(key: str) -> list[str]:
    """Return the plurals of the last word of `key`: the plain one, and that of a common irregular noun.

    None where the word is short, no plain word or a plural already.
    """
    before, blank, word = key.rpartition(" ")
    irregular = _IRREGULAR.get(word, "")
    if not irregular and re.search(r"[a-z]{3,}man$", word):
        irregular = word[:-3] + "men"
    return plain_plurals(key) + ([before + blank + irregular] if irregular else [])


def plain_plurals(key: str) -> list[str]:
    """Return the plain plurals of the last word of `key`; none where it is short, no plain word or one already."""
    if not re.search(r"[a-z]{3,}$", key) or re.search(r"[^s]s$", key):
        return []
    if re.search(r"[^aeiou]y$", key):
        return [key[:-1] + "ies"]
    return [key + "es"] if re.search(r"(s|x|z|ch|sh)$", key) else [key + "s"]
