"""Co-segmentation: what pictures that are retrieved for a thing have in common is the thing.

ReCo (Shin, Xie and Albanie 2022, arXiv:2206.07045; public code 5c5e1bc).
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from evenly.bounds import FINITE
from evenly.features.dense.maps import MapCut
from evenly.features.dense.method import GivenRegions, LearnsArrays, RegionNeed, Vocabulary
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense
from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single

Prototype = Literal["mean", "weighted", "winner"]
Reals = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Cosegment(LearnsArrays, MapCut):
    """Score maps times the likeness of cells to a prototype of each thing, from pictures that `fit` retrieves for it.

    compare: cells by their rows of a second backbone, or by the encoder's own. retrieved: the pictures of a thing.
    prototype: the mean of their seeds, weighted by rank, or the seed nearest to all. context: names of things that
    others are not. sharpness: of cosines with texts.
    """

    compare: Literal["second", "cells"] = "second"
    retrieved: Annotated[int, Ge(1)] = 50
    prototype: Prototype = "mean"
    context: tuple[str, ...] = ()
    sharpness: Annotated[float, Gt(0), FINITE] = 10.0
    learns_unlabelled: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[RegionNeed]:
        """Pictures to retrieve from, once, and the second backbone where it compares their cells."""
        compared: frozenset[RegionNeed] = frozenset({"second"} if self.compare == "second" else ())
        return compared if self.learned else compared | {"training"}

    def fit(self, dense: Dense, _regions: Regions, vocabulary: Vocabulary) -> Self:
        """Find the prototype of each thing among these pictures, without their regions."""
        from scipy.special import expit

        if not len(dense):
            return self
        rows, texts = self._rows(dense), vocabulary.prototypes
        things, prototypes = vocabulary.names, dict[str, Reals]()
        contexts = [thing for thing in self.context if thing in things]
        for thing in dict.fromkeys([*contexts, *things]):
            text = texts[things.index(thing)]
            places = np.argsort(-(dense.image @ text), kind="stable")[: self.retrieved]
            weights = expit(self.sharpness * dense.cells[places] @ text)
            for context in contexts:
                if context in prototypes:
                    weights = weights * (1 - expit(rows[places] @ prototypes[context]))
            prototypes[thing] = prototype_of(rows[places], weights, self.prototype)
        return self.with_arrays({"prototypes": np.array([prototypes[thing] for thing in things], np.float32)})

    def maps(self, dense: Dense, texts: Single) -> Single:
        """Likeness (n, c, h, w) of cells to prototypes times that to texts (c, d), each between 0 and 1."""
        from scipy.special import expit

        prototypes = self.learned.get("prototypes", texts[:0])
        if len(prototypes) != len(texts):
            raise RowsError(
                f"`texts` must be of the things that prototypes were found for, {len(prototypes)}; got {len(texts)}. "
                "Fit the method to pictures with these things."
            )
        of_prototypes, of_texts = self._rows(dense) @ prototypes.T, self.sharpness * dense.cells @ texts.T
        maps: Single = np.moveaxis(expit(of_prototypes) * expit(of_texts), 3, 1)
        return maps

    def score(self, dense: Dense, vocabulary: Vocabulary, _named: GivenRegions) -> Regions:
        """The regions of all things."""
        maps = self.probabilities(self.maps(dense, vocabulary.prototypes))
        return self.regions(dense, maps, vocabulary.names, source="cosegment")

    def _rows(self, dense: Dense) -> Single:
        rows: Single | None = getattr(dense, self.compare)
        if rows is None:
            raise RowsError("`second` must be rows of a second backbone; got None. Name one, or `compare` `cells`.")
        return rows


def prototype_of(rows: Reals, weights: Reals, kind: Prototype) -> Reals:
    """The unit row (e,) that pictures have in common, of rows of cells (k, h, w, e) and their weights (k, h, w).

    The seed of a picture is the cell whose largest cosine with the weighted cells of each picture is the largest on
    average. One picture at a time is compared with all.
    """
    pictures = rows.reshape(len(rows), -1, rows.shape[-1])
    shares = weights.reshape(len(rows), -1)
    likeness = sum((pictures @ of_one.T * share).max(axis=2) for of_one, share in zip(pictures, shares, strict=True))
    seeds = np.take_along_axis(pictures, np.argmax(likeness, axis=1)[:, None, None], axis=1)[:, 0]
    if kind == "winner":
        common = seeds[np.argmax((seeds @ seeds.T).sum(axis=1))]
    else:
        ranks = np.arange(len(seeds), 0, -1) if kind == "weighted" else np.ones(len(seeds))
        common = ranks @ seeds
    unit: Reals = common / np.linalg.norm(common)
    return unit
