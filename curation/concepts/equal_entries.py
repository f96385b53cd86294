"""Entries that normalized mode cannot tell apart: the first of them stands for all, so that a concept counts once."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import as_array
from evenly.curation.concepts.normalising import normalised_texts

NOTHING_LEFT = "nothing_left_after_normalising"
SAME_AS_EARLIER = "same_as_an_earlier_entry"


def normalised_keys(entries: Sequence[str]) -> list[str]:
    """Return the text that normalized mode searches for, per entry; "" where nothing is left, which matches nothing."""
    keys: list[str] = normalised_texts(as_array(entries)).to_pylist()
    return keys


def first_equal(keys: Sequence[str], plurals: tuple[Sequence[int], Sequence[str]] | None = None) -> list[int]:
    """Return, per key, the position of the first that is the same: its own where there is none before it.

    Keys are the same if they are equal or if one is among the `plurals` of the other, `plurals_of` these keys. The
    plural of several (axes: ax, axe) goes with the first of them, and these stay apart.
    """
    positions, plural_forms = plurals or ((), ())
    backwards = zip(reversed(positions), reversed(plural_forms), strict=True)
    singulars = {plural: keys[position] for position, plural in backwards}
    standing = list(map(singulars.get, keys, keys))
    first = dict(zip(reversed(standing), range(len(keys) - 1, -1, -1), strict=True))
    return [first[key] for key in standing]


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


IRREGULAR_PLURALS = {
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
"""Singular -> plural of common nouns; nouns in -man have theirs in -men."""

_ENDS = "eisy"
_IRREGULAR_END = f"(^| )({'|'.join(IRREGULAR_PLURALS)})$|[a-z]{{3}}man$"


def plurals_of(keys: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return (positions, plurals): the keys' positions, ascending, and plurals of their last words.

    A key has the plain one, and that of a common irregular noun; none where the word is short, no plain word or a
    plural already.
    """
    texts, positions = as_array(keys), pa.array(range(len(keys)), pa.int64())
    is_plain = pc.and_not(pc.match_substring_regex(texts, "[a-z]{3}$"), pc.match_substring_regex(texts, "[^s]s$"))
    stems = pc.replace_substring_regex(texts.filter(is_plain), "([^aeiou])y$", r"\1ie")
    stems = pc.replace_substring_regex(stems, "(s|x|z|ch|sh)$", r"\1e")
    plain = pc.replace_substring_regex(stems, "$", "s")
    is_irregular = pc.match_substring_regex(texts, _IRREGULAR_END)
    irregular = pa.array([_irregular(key) for key in texts.filter(is_irregular).to_pylist()], texts.type)
    numbers = pa.concat_arrays([positions.filter(is_plain), positions.filter(is_irregular)])
    order = pc.sort_indices(numbers)
    return numbers.take(order).to_pylist(), pa.concat_arrays([plain, irregular]).take(order).to_pylist()


def english_plurals(key: str) -> list[str]:
    """Return the plurals of the last word of `key`, as `plurals_of` has them."""
    return plurals_of([key])[1]


def nameable(entries: pa.Array, captions: pa.Array) -> pa.Array:
    """Return the positions, ascending, of entries that captions may name in normalized mode, in plurals too.

    Whoever looks for these alone finds what those find who look for all: entries that are the same are all of them or
    none. The first word of an entry must stand in a caption, and the last one, or its plural, but for their ends.
    """
    words = pc.unique(pc.list_flatten(pc.split_pattern(normalised_texts(captions).drop_null(), " ")))
    parts = pc.split_pattern(normalised_texts(entries), " ")
    ends = parts.offsets.to_numpy()
    first, last = (parts.values.take(pa.array(places)) for places in (ends[:-1], ends[1:] - 1))
    has_first = pc.or_(pc.is_in(first, words), pc.equal(pc.list_value_length(parts), 1))
    positions = pc.indices_nonzero(has_first)
    return positions.filter(pc.is_in(_stems(last.take(positions)), _stems(words)))


def _stems(words: pa.Array) -> pa.Array:
    """The beginnings of words, the same for a word and all of its plurals."""
    stems = pc.replace_substring_regex(pc.ascii_rtrim(words, _ENDS), "man$", "men")
    irregular = {singular.rstrip(_ENDS): plural.rstrip(_ENDS) for singular, plural in IRREGULAR_PLURALS.items()}
    places = pc.index_in(stems, pa.array(irregular, stems.type))
    return pc.coalesce(pa.array(irregular.values(), stems.type).take(places), stems)


def _irregular(key: str) -> str:
    beginning, blank, word = key.rpartition(" ")
    return beginning + blank + (IRREGULAR_PLURALS.get(word) or f"{word[:-3]}men")
