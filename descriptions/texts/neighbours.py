"""Nouns of like things: WordNet senses whose definitions begin alike, without the tree of its hypernyms.

The noun synsets at hand have no hypernyms. A definition begins with the kind of thing that a noun is ("large feline of
forests", "large gregarious predatory feline of Africa"): senses that share rare words there are of one kind. Numbers of
synsets follow the tree for living things and food, and the alphabet for artefacts: nearness there counts a little.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping

from evenly.descriptions.texts.grounding import Grounding, Subject
from evenly.descriptions.texts.words import other_names_in, words_of

LEAST_LIKENESS = 0.45
"""Below it the words shared say nothing; chosen by eye on the demo's classes and ten others."""
NEARNESS, NEAR_PLACES = 0.3, 40
"""What lying side by side in the table adds to a likeness, and the places apart at which a third of it is left."""
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


class Neighbours:
    """Finds neighbours among the noun synsets of a grounding; made once for many classes."""

    def __init__(self, grounding: Grounding) -> None:
        self._grounding = grounding
        self._kinds = {synset: kind_of(gloss) for synset, (_, gloss) in grounding.synsets.items()}
        counts = Counter(word for kind in self._kinds.values() for word in kind)
        self._weights: Mapping[str, float] = {word: math.log(len(self._kinds) / n) for word, n in counts.items()}
        self._places = {synset: place for place, synset in enumerate(self._kinds)}
        self._of_word: dict[str, list[str]] = {}
        for synset, kind in self._kinds.items():
            for word in kind:
                self._of_word.setdefault(word, []).append(synset)

    def of(self, subject: Subject, *, most: int = 6) -> tuple[str, ...]:
        """First lemmas of the `most` nearest senses, the nearest first; none for a class without a sense.

        Near is what shares much of the weight (log of rarity) of the words in both kinds. Left out: the class's own
        names, senses whose definition names the class (they are kinds of it), and those that the class's definition
        or name holds (it is a kind of them).
        """
        if subject.synset is None or subject.gloss is None:
            return ()
        kind = self._kinds.get(subject.synset) or kind_of(subject.gloss)
        candidates = {synset for word in kind for synset in self._of_word.get(word, ())} - {subject.synset}
        likeness = {synset: self._likeness(subject.synset, kind, synset) for synset in candidates}
        names: list[str] = []
        for synset in sorted(candidates, key=lambda synset: (-likeness[synset], self._places[synset])):
            if likeness[synset] < LEAST_LIKENESS:
                break
            lemmas, gloss = self._grounding.synsets[synset]
            if _is_beside(subject, lemmas, gloss) and lemmas[0] not in names:
                names.append(lemmas[0])
            if len(names) == most:
                break
        return tuple(names)

    def _likeness(self, synset: str, own_kind: frozenset[str], neighbour: str) -> float:
        """Weight of the words that two kinds share over that of all their words, and something for lying near."""
        kind = self._kinds[neighbour]
        total = sum(self._weights.get(word, 0.0) for word in own_kind | kind)
        shared = sum(self._weights.get(word, 0.0) for word in own_kind & kind)
        distance = abs(self._places[neighbour] - self._places.get(synset, 0))
        return (shared / total if total else 0.0) + NEARNESS * math.exp(-distance / NEAR_PLACES)


def kind_of(gloss: str) -> frozenset[str]:
    """The words of a definition that name the kind of thing: the ones before the first "that", "with", ..."""
    return frozenset(word for word in words_of(kind_part(gloss))[:MOST_WORDS] if word not in _EMPTY)


def kind_part(gloss: str) -> str:
    """The beginning of a definition up to its first "that", "with", "similar" or comma."""
    return next((part for part in _KIND_ENDS.split(_ASIDE.sub("", gloss)) if words_of(part)), "")


def alike(first_gloss: str, second_gloss: str) -> bool:
    """Whether two definitions share a word in what they say of the kind."""
    return bool(kind_of(first_gloss) & kind_of(second_gloss))


def _is_beside(subject: Subject, lemmas: tuple[str, ...], gloss: str) -> bool:
    """Whether a sense is neither the class, nor a kind of it, nor what it is a kind of."""
    names = (*subject.own_names, *subject.lemmas)
    return (
        not any(other_names_in(lemma, "", names) for lemma in lemmas)
        and not other_names_in(gloss, "", names)
        and not other_names_in(f"{subject.name}; {subject.gloss}", "", lemmas)
    )
