"""Counts of captions that name a concept by each of its names, and the best known name (REAL).

Parashar et al., The Neglected Tails in Vision-Language Models, CVPR 2024, arXiv:2401.12425.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.bounds import RenameRule
from evenly.curation.concepts.matching import Matcher, normalised
from evenly.curation.errors import RuleError

Counts = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class NameFrequencies:
    """`of_names`: for each concept, name -> captions that hold it, in the order of its names.

    `of_concepts` (c,): captions that hold any of its names, each counted once. `captions`: how many were looked at,
    null ones included. Frequencies of disjoint sets of captions add up.
    """

    of_names: tuple[Mapping[str, int], ...]
    of_concepts: Counts
    captions: int

    def __add__(self, other: Self) -> Self:
        """The frequencies in both sets of captions."""
        pairs = zip(self.of_names, other.of_names, strict=True)
        return type(self)(
            of_names=tuple(
                {name: count + other_counts[name] for name, count in counts.items()} for counts, other_counts in pairs
            ),
            of_concepts=self.of_concepts + other.of_concepts,
            captions=self.captions + other.captions,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class NamesHeld:
    """Names in captions, (m,) each: `rows` of the captions, ascending; `owners`, places of concepts.

    `names` are numbers of names, counted through all concepts in order. A caption stands once for each name it holds.
    """

    rows: Counts
    owners: Counts
    names: Counts


class NameCounter:
    """Counts captions that hold a name as a phrase, in the normalized mode of `Matcher` (case and marks aside).

    `names` holds the names of each concept; one that stands twice counts once. `plurals` also finds the plain plural of
    a name's last word. With `prefix`, only captions that hold this word or phrase as well, anywhere, count.
    Differs from REAL: no full-text index, so no name is lost to its syntax (quotes, dots, AND).
    """

    def __init__(self, names: Sequence[Sequence[str]], *, plurals: bool = False, prefix: str | None = None) -> None:
        if prefix is not None and not normalised(prefix):
            raise RuleError(f"`prefix` must hold a letter or digit; got {prefix!r}. Write a word, or leave it out.")
        self._names = [list(dict.fromkeys(concept_names)) for concept_names in names]
        flat = [name for concept_names in self._names for name in concept_names]
        self._owners = np.repeat(np.arange(len(self._names)), [len(concept_names) for concept_names in self._names])
        self._prefix = prefix
        searched = flat if prefix is None else [*flat, prefix]
        self._matcher = Matcher(searched, "normalized", plurals=plurals, separate=True)

    def hold(self, captions: pa.Array) -> NamesHeld:
        """The names that each of `captions` holds (strings; null holds none)."""
        matches = self._matcher.match(captions)
        names = matches.flatten().to_numpy()
        rows = np.repeat(np.arange(len(matches)), np.diff(matches.offsets.to_numpy()))
        if self._prefix is not None:
            is_name = names < len(self._owners)
            stays = is_name & np.isin(rows, rows[~is_name])
            names, rows = names[stays], rows[stays]
        return NamesHeld(rows=rows, owners=self._owners[names], names=names)

    def count(self, captions: pa.Array) -> NameFrequencies:
        """The frequencies in `captions` (strings; null holds no name). A caption that stands twice counts twice."""
        return self.frequencies(self.hold(captions), len(captions))

    def frequencies(self, names_held: NamesHeld, captions: int) -> NameFrequencies:
        """The frequencies in a number of captions, from the names that they hold."""
        of_concepts = np.unique(np.stack([names_held.rows, names_held.owners]), axis=1)[1]
        counts = iter(np.bincount(names_held.names, minlength=len(self._owners)).tolist())
        return NameFrequencies(
            of_names=tuple({name: next(counts) for name in concept_names} for concept_names in self._names),
            of_concepts=np.bincount(of_concepts, minlength=len(self._names)),
            captions=captions,
        )


def most_frequent_name(official: str, counts: Mapping[str, int], *, rule: RenameRule = "relaxed") -> str:
    """The name that captions hold most often, of `official` and the names in `counts`; of equal ones the first.

    `official` comes first, with 0 where it is not counted. strict: whatever is the most frequent. relaxed: but for
    names whose words are some of those of `official` and no others, which mean more than it does ("Honda" for "Honda
    Accord 2012"). Differs from the public code, whose running maximum also rises by the names that it refuses.
    """
    if rule not in get_args(RenameRule):
        raise RuleError(f"`rule` must be one of {', '.join(get_args(RenameRule))}; got {rule!r}. Choose one of these.")
    words = set(normalised(official).split())
    best, most = official, counts.get(official, 0)
    for name, count in counts.items():
        if count > most and not (rule == "relaxed" and set(normalised(name).split()) < words):
            best, most = name, count
    return best
