"""Entries that normalized mode cannot tell apart: the first of them stands for all, so that a concept counts once."""

from collections.abc import Mapping, Sequence

from evenly.curation.concepts.index import as_array
from evenly.curation.concepts.normalising import normalised_texts

NOTHING_LEFT = "nothing_left_after_normalising"
SAME_AS_EARLIER = "same_as_an_earlier_entry"


def normalised_keys(entries: Sequence[str]) -> list[str]:
    """Return the text that normalized mode searches for, per entry; "" where nothing is left, which matches nothing."""
    keys: list[str] = normalised_texts(as_array(entries)).to_pylist()
    return keys


def first_equal(keys: Sequence[str], plurals: Mapping[str, Sequence[str]] | None = None) -> list[int]:
    """Return, per key, the position of the first that is the same: its own where there is none before it.

    Keys are the same if they are equal or if one is among the `plurals` of the other, keys in the same order. The
    plural of several (axes: ax, axe) goes with the first of them, and these stay apart.
    """
    singulars: dict[str, str] = {}
    for key, plurals_of_key in (plurals or {}).items():
        for plural in plurals_of_key:
            singulars.setdefault(plural, key)
    first: dict[str, int] = {}
    return [first.setdefault(singulars.get(key, key), position) for position, key in enumerate(keys)]


def unmatchable_normalized(entries: Sequence[str], *, plurals: bool = False) -> list[tuple[str, str, str | None]]:
    """Return (entry, why, the entry that stands for it or None) of those that normalized mode never finds, in order."""
    keys = normalised_keys(entries)
    unmatchable: list[tuple[str, str, str | None]] = []
    for position, first in enumerate(first_equal(keys, plurals_of(keys) if plurals else None)):
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


def plurals_of(keys: Sequence[str]) -> dict[str, list[str]]:
    """Return the plurals of each key, in the order of first mention."""
    return {key: english_plurals(key) for key in dict.fromkeys(keys)}


def english_plurals(key: str) -> list[str]:
    """Return the plurals of the last word of `key`: the plain one, and that of a common irregular noun.

    None where the word is short, no plain word or a plural already.
    """
    before, blank, word = key.rpartition(" ")
    irregular = _IRREGULAR.get(word, "")
    if not irregular and word.endswith("man") and _is_plain(word[-6:-3]):
        irregular = word[:-3] + "men"
    return _plain_plurals(key) + ([before + blank + irregular] if irregular else [])


def _plain_plurals(key: str) -> list[str]:
    """The plain plurals of the last word of `key`; none where it is short, no plain word or one already."""
    if not _is_plain(key[-3:]) or (key[-1] == "s" and key[-2] != "s"):
        return []
    if key[-1] == "y" and key[-2] not in "aeiou":
        return [key[:-1] + "ies"]
    return [key + "es"] if key.endswith(("s", "x", "z", "ch", "sh")) else [key + "s"]


def _is_plain(letters: str) -> bool:
    """Whether these are three letters from a to z."""
    return len(letters) == 3 and letters.isascii() and letters.isalpha() and letters.islower()
