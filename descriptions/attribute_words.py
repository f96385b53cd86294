"""Words for attributes, by type: to choose from, to tell types apart, and to find in a definition."""

import re
from collections.abc import Iterator

from descriptions.visual_words import PART_WORDS
from descriptions.words import words_of

_WORDS = {
    "color": """
        black white gray grey red orange yellow green blue purple violet pink brown beige tan golden silver cream
        turquoise maroon crimson scarlet reddish yellowish greenish bluish brownish whitish blackish colorful colourful
        transparent multicolored
    """,
    "shape": """
        round oval square rectangular triangular spherical cylindrical conical flat curved straight pointed angular
        arched hollow ring-shaped star-shaped heart-shaped long short slender thin thick wide broad narrow tall
    """,
    "material": """
        wooden wood metal steel iron brass bronze glass plastic rubber leather fabric cloth cotton silk wool woolen
        paper cardboard stone brick concrete ceramic clay marble bone bamboo straw
    """,
    "size": "tiny small medium-sized large huge big giant",
    "texture": """
        smooth rough shiny glossy matte soft hard fluffy furry hairy feathered scaly spiky bumpy wrinkled slimy
        leafy woody juicy crisp polished leathery silky spiny prickly
    """,
    "pattern": "plain striped stripes spotted spots dotted checkered plaid speckled mottled floral marbled geometric",
}
ATTRIBUTE_WORDS = {kind: tuple(words.split()) for kind, words in _WORDS.items()}
FREE = frozenset({"part"})
"""Types whose values are any words."""
_TYPE_OF = {words_of(word): kind for kind, words in ATTRIBUTE_WORDS.items() for word in words}
_SPELLING = {words_of(word): word for words in ATTRIBUTE_WORDS.values() for word in words}
_CLAUSE = re.compile(r"[;,:()]")
_HAVING = re.compile(r"\b(?:with|having|has|have)\b")
_DENIED = re.compile(r"\b(?:no|not|without|lacking|never|un\w+|other than)\b.*")


def types_of(value: str) -> frozenset[str]:
    """The types whose words occur in a value."""
    return frozenset(kind for kind, _ in _typed(value))


def attributes_in(text: str) -> tuple[tuple[str, str], ...]:
    """(type, word) of each attribute that a definition names, in order, each once.

    Parts are those named after "with" or "having". What follows a denial in its clause does not count.
    """
    found: list[tuple[str, str]] = []
    for clause in _CLAUSE.split(text):
        said = _DENIED.sub("", clause)
        found += _typed(said)
        _, *had = _HAVING.split(said, maxsplit=1)
        found += [("part", word) for word in re.findall(r"[a-z]+", " ".join(had)) if _is_part(word)]
    return tuple(dict.fromkeys(found))


def adds_attribute(text: str, facts: str) -> bool:
    """Whether a text names a color, shape, material, size, texture or pattern that `facts` do not."""
    known = set(words_of(facts))
    return any(not set(words_of(word)) <= known for _, word in _typed(text))


def _typed(text: str) -> Iterator[tuple[str, str]]:
    words = words_of(text)
    for start in range(len(words)):
        for stop in (start + 1, start + 2):
            if (kind := _TYPE_OF.get(words[start:stop])) is not None and stop <= len(words):
                yield kind, _SPELLING[words[start:stop]]


def _is_part(word: str) -> bool:
    return (word in PART_WORDS or word.removesuffix("s") in PART_WORDS) and words_of(word) not in _TYPE_OF
