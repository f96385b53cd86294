"""Other names of a class: the lemmas of its WordNet synset, and REAL's filter by text self-consistency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenly.descriptions.method import TextMethod
from evenly.descriptions.texts.checks import ReplyRules
from evenly.descriptions.texts.grounding import Subject

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class Synonyms(TextMethod):
    """The lemmas of the class's synset, in WordNet's order, without its own name. No model is asked.

    Differs from REAL (Parashar et al., The Neglected Tails in Vision-Language Models, 2024), which asks a language
    model: small ones invent synonyms. A class without a synset has none; one of a plural name has its singular as well.
    Which of them mean the class to an encoder is the filter's part: `consistent_synonyms`.
    """

    name = "synonyms"
    instruction = ""
    wanted: int = 0

    @property
    def rules(self) -> ReplyRules:
        """A name of at most 6 words that is no other class's name."""
        return ReplyRules(max_words=6, max_characters=100, visual_word=False, singular=True)

    def known(self, subject: Subject) -> tuple[str, ...]:
        """The lemmas but the class's own name."""
        return tuple(lemma for lemma in subject.lemmas if lemma.casefold() != subject.name.casefold())

    def why_none(self, subject: Subject) -> str:
        """no_synset or no_other_name."""
        return "no_other_name" if subject.synset else "no_synset"


TIED = 1e-9
"""Cosines that differ by less are equal: the last bits of a product depend on its place in the matrix."""


def consistent_synonyms(synonyms: Floats, owners: Ints | Sequence[int], classes: Floats) -> Bools:
    """Whether each synonym is nearest to its own class, (n,): REAL's filter.

    `synonyms` (n, d) and `classes` (c, d) are text features of "a photo of a {name}", of any length; `owners` (n) are
    the classes' rows. A tie, a difference of at most `TIED`, keeps the synonym. A vector of length 0 or with a NaN is
    never consistent.
    """
    owner = np.asarray(owners, dtype=np.intp)
    if synonyms.ndim != 2 or classes.ndim != 2 or synonyms.shape[1] != classes.shape[1] or len(owner) != len(synonyms):
        raise ValueError(
            "`synonyms` (n, d), `owners` (n) and `classes` (c, d) must belong together; "
            f"got {synonyms.shape}, {owner.shape} and {classes.shape}. Encode both with the same encoder."
        )
    similarity = _unit(synonyms) @ _unit(classes).T
    own_similarity = similarity[np.arange(len(owner)), owner]
    return np.asarray(
        (own_similarity >= similarity.max(axis=1, initial=-np.inf) - TIED)
        & (np.linalg.norm(synonyms.astype(np.float64), axis=1) > 0)
    )


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    unit: Floats = np.divide(rows, norms, out=np.zeros(rows.shape), where=norms > 0)
    return unit
