"""The pool of descriptions to select from: those that name no class, each once (DisCLIP).

Ma et al., Does VLM Classification Benefit from LLM Description Semantics?, AAAI 2025, arXiv:2412.11917. The selection
itself works on vectors: adapters/forms/local_texts.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evenly.descriptions.texts.words import other_names_in


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All descriptions of a list that name no class, each once; `text_indices`: the positions of each class's."""

    texts: tuple[str, ...]
    text_indices: tuple[tuple[int, ...], ...]

    def own_texts(self) -> list[tuple[int, str]]:
        """(position of a class, text) for each class and each of its texts, in order."""
        return [(label, self.texts[index]) for label, places in enumerate(self.text_indices) for index in places]


def description_pool(phrases: Mapping[str, Sequence[str]], classes: Sequence[str]) -> Pool:
    """The pool of `phrases` (class -> its phrases), in class order; one that names a class of the list is left out."""
    places: dict[str, int] = {}
    indices = []
    for name in classes:
        free = [phrase for phrase in dict.fromkeys(phrases.get(name, ())) if not other_names_in(phrase, "", classes)]
        indices.append(tuple(places.setdefault(phrase, len(places)) for phrase in free))
    return Pool(texts=tuple(places), text_indices=tuple(indices))
