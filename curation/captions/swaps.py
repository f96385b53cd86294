"""Captions made wrong by rule: two of their words change places, and all of them stay.

As ARO asks (Yuksekgonul et al. 2023, arXiv:2210.01936): does the encoder read the order of words, or only which there
are? There a parser finds the words. Here colours are a list, and nouns are handed in.
"""

import re
from collections.abc import Collection, Mapping

from evenly.curation.concepts.concept_list import FUNCTION_WORDS

COLOURS = frozenset({
    "red", "orange", "yellow", "green", "blue", "purple", "violet", "pink", "brown", "black", "white", "grey", "gray",
    "golden", "silver", "beige", "turquoise",
})  # fmt: skip
MEDIA = frozenset({
    "picture", "image", "photo", "photograph", "drawing", "illustration", "icon", "cartoon", "painting", "sketch",
    "view", "scene",
})  # fmt: skip
"""Nouns for the picture itself: "a drawing of a dog" says the same of it as "a dog of a drawing"."""
_WORD = re.compile(r"[^\W\d_]+")
_SHORTEST = 3  # letters of a noun; WordNet has names of two for chemicals and states


def swapped_words(caption: str, nouns: Collection[str]) -> Mapping[str, str]:
    """The caption with two colours, and with two nouns, in each other's place; without what it has no two of.

    The first two different colours, and the first and the last different one of `nouns` (lower case, singular), which
    are neither colours, function words nor MEDIA. A noun in the plural is found by its singular.
    """
    words = list(_WORD.finditer(caption))
    coloured = [word for word in words if word.group().casefold() in COLOURS]
    named = [word for word in words if _is_noun(word.group().casefold(), nouns)]
    swaps = {"colours": _different(coloured), "nouns": _different(named, last=True)}
    return {kind: _exchanged(caption, *pair) for kind, pair in swaps.items() if pair}


def _is_noun(word: str, nouns: Collection[str]) -> bool:
    if len(word) < _SHORTEST or word in FUNCTION_WORDS | COLOURS:
        return False
    forms = {word, word.removesuffix("s"), word.removesuffix("es")}
    return not forms & MEDIA and any(form in nouns for form in forms)


def _different(words: list[re.Match[str]], *, last: bool = False) -> tuple[re.Match[str], re.Match[str]] | None:
    """The first word and the first, or last, that is another; None where all are equal."""
    different = [word for word in words if word.group().casefold() != words[0].group().casefold()]
    return (words[0], different[-1 if last else 0]) if different else None


def _exchanged(caption: str, first: re.Match[str], second: re.Match[str]) -> str:
    middle = caption[first.end() : second.start()]
    return f"{caption[: first.start()]}{second.group()}{middle}{first.group()}{caption[second.end() :]}"
