"""Words for attributes, by type: to tell types apart, and to find them in a definition."""

import re
from collections.abc import Iterator, Sequence

from evenly.descriptions.texts.visual_words import PART_WORDS
from evenly.descriptions.texts.words import SMALL_WORDS, words_of

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
_MARKS = frozenset({"stripe", "stripes", "spot", "spots", "dot", "dots"})
_CLAUSE = re.compile(r"[;,:()]")
_HAVING = re.compile(r"\b(?:with|having|has|have)\b")
_OF_OTHERS = re.compile(r"\b(?:that|which|who|whose|where|used|for|in|on|from|of (?:a|an|the|any|various))\b.*")
_DENIED = re.compile(r"\b(?:no|not|without|lacking|never|un\w+|other than)\b.*")
_BETWEEN = re.compile(rf"\b(?:\w+ed as .*|{'|'.join(sorted(SMALL_WORDS))})\b")
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*")
_OF_A_PART = re.compile(r"\b[a-z]+-(?!(?:sized|shaped|colou?red)\b)[a-z]+ed\b")
_MOST_BEFORE = 2
_UNCOUNTED = frozenset(
    {
        *("hair", "fur", "skin", "flesh", "bark", "foliage", "plumage", "fleece", "fabric", "leather", "wood", "foam"),
        *("teeth", "feet", "pulp", "lace", "string", "rope", "icing", "frosting", "antennae"),
    }
)


def types_of(value: str) -> frozenset[str]:
    """The types whose words occur in a value."""
    return frozenset(kind for kind, _ in _typed(value))


def attributes_in(text: str) -> tuple[tuple[str, str], ...]:
    """(type, value) of each attribute that a definition names, in order, each once.

    After "with", "has" or "having" stand parts and marks ("black stripes", "two wheels"), each taken with up to two
    words before it. Words of the other types are looked for before that, and before the first "that", "which" or "of
    the", which begins to speak of something else. What follows a denial in its clause does not count.
    """
    found: list[tuple[str, str]] = []
    for clause in _CLAUSE.split(text):
        whole, *had = _HAVING.split(_DENIED.sub("", clause), maxsplit=1)
        found += _typed(_OF_A_PART.sub("", _OF_OTHERS.sub("", whole)))
        found += [pair for run in _BETWEEN.split(" ".join(had)) for pair in _part_in(_WORD.findall(run))]
    return tuple(dict.fromkeys(found))


def adds_attribute(text: str, facts: str) -> bool:
    """Whether a text names a color, shape, material, size, texture or pattern that `facts` do not."""
    known = set(words_of(facts))
    return any(not set(words_of(word)) <= known for _, word in _typed(text))


def goes_after(value: str, kind: str) -> bool:
    """Whether a value stands after the name ("a cat with black stripes") and not before it ("a black cat")."""
    words = value.split()
    return kind in FREE or (kind == "pattern" and bool(words) and words[-1] in _MARKS)


def article(phrase: str) -> str:
    """The word "an" before a vowel, else "a"."""
    return "an" if phrase[:1].casefold() in set("aeiou") else "a"


def with_article(phrase: str) -> str:
    """The phrase after "a" or "an", as it is where it is plural, uncounted or has an article."""
    words = phrase.casefold().split()
    if not words or words[0] in {"a", "an", "the"} or words[-1] in _UNCOUNTED or re.search(r"[^s]s$", words[-1]):
        return phrase
    return f"{article(phrase)} {phrase}"


def _part_in(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The last part or mark of a run of words, with the words before it."""
    for place in range(len(words) - 1, -1, -1):
        kind = "pattern" if words[place] in _MARKS else "part" if _is_part(words[place]) else None
        if kind is not None:
            yield kind, " ".join(words[max(0, place - _MOST_BEFORE) : place + 1])
            return


def _typed(text: str) -> Iterator[tuple[str, str]]:
    words = words_of(text)
    for start in range(len(words)):
        for stop in (start + 1, start + 2):
            if (kind := _TYPE_OF.get(words[start:stop])) is not None and stop <= len(words):
                yield kind, _SPELLING[words[start:stop]]


def _is_part(word: str) -> bool:
    return (word in PART_WORDS or word.removesuffix("s") in PART_WORDS) and words_of(word) not in _TYPE_OF
