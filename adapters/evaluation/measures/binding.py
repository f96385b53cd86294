"""Attribute binding: does "color of the lemon is" find the lemon's colour, or that of the other object in the picture?

The probe of the Concept Association Bias (Yamada et al. 2022, arXiv:2212.12043). No public code is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.bootstrap import REPLICATES, Interval, bootstrap_accuracy
from evenly.adapters.features import Floats, Integers

NO_OBJECT = -1
"""In `objects` and `attributes`: the picture has no second object."""

_CHUNK = 256  # questions whose texts are gathered at a time

ALL, ONE, TWO = "all", "one object", "two objects"


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeSet:
    """Pictures of one or two objects with an attribute each, and a text for every object with every attribute.

    `image` (n, d) unit rows; `texts` (o, a, d) unit rows of "color of the {object} is {attribute}"; `objects` (n, 2)
    positions in 0 to o - 1 and `attributes` (n, 2) in 0 to a - 1, -1 in the second column where there is one object.
    `strength` (n, 2): how strongly each object is associated with its attribute, in words such as "strong"; optional.
    """

    image: Floats
    texts: Floats
    objects: Integers
    attributes: Integers
    strength: npt.NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        n, d = self.image.shape
        if self.texts.ndim != 3 or self.texts.shape[2] != d:
            raise InvalidFeaturesError(
                f"`texts` must have shape (objects, attributes, {d}); got {self.texts.shape}. Encode one text per pair."
            )
        for name in ("objects", "attributes", "strength"):
            array = getattr(self, name)
            if array is not None and array.shape != (n, 2):
                raise InvalidFeaturesError(
                    f"`{name}` must have shape ({n}, 2); got {array.shape}. Hand in two columns."
                )
        for name, size in (("objects", self.texts.shape[0]), ("attributes", self.texts.shape[1])):
            array = getattr(self, name)
            lowest = np.array([0, NO_OBJECT])
            if n and ((array < lowest) | (array >= size)).any():
                raise InvalidFeaturesError(
                    f"`{name}` must lie in 0 to {size - 1}, or be -1 in the second column; got {array.min()} to "
                    f"{array.max()}. Give positions in the axes of `texts`."
                )
        if n and ((self.objects[:, 1] < 0) != (self.attributes[:, 1] < 0)).any():
            raise InvalidFeaturesError("`objects` and `attributes` must lack the second object in the same rows.")


def binding_table(
    probe: ProbeSet, *, seed: int, groups: Sequence[Any] | npt.NDArray[Any] | None = None, n: int = REPLICATES
) -> pd.DataFrame:
    """One row for all questions, one each for pictures of one and of two objects, one per strength of association.

    Each object of each picture is a question; the answer is the attribute whose text is nearest, the first of equal
    ones. Columns: part, questions, pictures, own (share answered with the object's attribute), own_low, own_high,
    rivals (questions whose other object has another attribute), swap (share of these answered with that one), swap_low,
    swap_high, beats (share of these in which the own attribute scores strictly above the other's; chance is 0.5),
    beats_low, beats_high. Strengths count the questions with a rival alone. Intervals (95 %) resample pictures, or the
    `groups` (n,) of pictures.
    """
    if probe.strength is not None and {ALL, ONE, TWO} & set(probe.strength.ravel().tolist()):
        raise ParameterError(f"`strength` must not use the words {ALL}, {ONE}, {TWO}; got one. Rename it.")
    questions = _questions(probe, np.arange(len(probe.image)) if groups is None else np.asarray(groups))
    two = probe.objects[questions.picture, 1] != NO_OBJECT
    parts = {ALL: np.ones(len(two), np.bool_), ONE: ~two, TWO: two}
    if probe.strength is not None:
        words = probe.strength[questions.picture, questions.place]
        parts |= {str(word): (words == word) & questions.rival for word in sorted(set(words[questions.rival].tolist()))}
    return pd.DataFrame([{"part": part} | questions.measures(mask, seed=seed, n=n) for part, mask in parts.items()])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Questions:
    """One entry per question: its picture, which of the two objects it is about, its group, and what was answered."""

    picture: npt.NDArray[np.intp]
    place: npt.NDArray[np.intp]
    group: npt.NDArray[Any]
    own_answer: npt.NDArray[np.bool_]
    rival: npt.NDArray[np.bool_]
    swap: npt.NDArray[np.bool_]
    beats: npt.NDArray[np.bool_]

    def measures(self, mask: npt.NDArray[np.bool_], *, seed: int, n: int) -> dict[str, Any]:
        """The row of one part."""

        def share(values: npt.NDArray[np.bool_], chosen: npt.NDArray[np.bool_]) -> Interval:
            return bootstrap_accuracy(values[chosen], groups=self.group[chosen], seed=seed, n=n)

        rivals = mask & self.rival
        own_share, swap, beats = share(self.own_answer, mask), share(self.swap, rivals), share(self.beats, rivals)
        return {
            "questions": int(mask.sum()),
            "pictures": len(np.unique(self.picture[mask])),
            **_columns("own", own_share),
            "rivals": int(rivals.sum()),
            **_columns("swap", swap),
            **_columns("beats", beats),
        }


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _questions(probe: ProbeSet, groups: npt.NDArray[Any]) -> _Questions:
    """Ask for the attribute of each object that is there."""
    picture, place = np.nonzero(probe.objects != NO_OBJECT)
    scores = np.empty((len(picture), probe.texts.shape[1]))
    for start in range(0, len(picture), _CHUNK):
        part = slice(start, start + _CHUNK)
        texts = probe.texts[probe.objects[picture[part], place[part]]].astype(np.float64)
        scores[part] = np.einsum("qad,qd->qa", texts, probe.image[picture[part]].astype(np.float64))
    answer = scores.argmax(axis=1)
    attribute, rival_attribute = probe.attributes[picture, place], probe.attributes[picture, 1 - place]
    rival = (rival_attribute != NO_OBJECT) & (rival_attribute != attribute)
    row = np.arange(len(picture))
    return _Questions(
        picture=picture,
        place=place,
        group=groups[picture],
        own_answer=answer == attribute,
        rival=rival,
        swap=rival & (answer == rival_attribute),
        beats=rival & (scores[row, attribute] > scores[row, rival_attribute]),
    )
