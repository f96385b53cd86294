"""The kind of thing that a definition defines: the words before its first "that", "with" or "used"."""

import re

from evenly.descriptions.texts.words import words_of

_KIND_ENDS = re.compile(
    r"[,;:()]|\b(?:that|which|who|whose|with|having|used|for|usually|often|especially|in|on|at|to|by|from|"
    r"consisting|made|similar|related|characterized|containing|worn|resembling|served|as|where)\b"
)
_ASIDE = re.compile(r"\([^()]*\)")
_EMPTY = frozenset(
    {
        *("a", "an", "the", "any", "of", "or", "and", "one", "some", "several", "various", "native", "to"),
        *("kind", "type", "sort", "form", "genus", "family", "member", "species"),
        *("large", "small", "common", "often", "used", "usually"),
    }
)
MOST_WORDS = 8
"""Words of a definition that may name its kind."""


def kind_of(gloss: str) -> frozenset[str]:
    """The words of a definition that say what kind of thing it defines: those before its first "that", "with", ..."""
    return frozenset(word for word in words_of(kind_part(gloss))[:MOST_WORDS] if word not in _EMPTY)


def kind_part(gloss: str) -> str:
    """The beginning of a definition up to its first "that", "with", "similar" or comma."""
    return next((part for part in _KIND_ENDS.split(_ASIDE.sub("", gloss)) if words_of(part)), "")


def alike(one: str, other: str) -> bool:
    """Whether two definitions share a word in what they say of the kind."""
    return bool(kind_of(one) & kind_of(other))
