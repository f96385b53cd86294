"""Score maps: the cosine of each cell with each thing, whose texts lean towards what the picture shows.

DenseCLIP (Rao et al. 2022, arXiv:2112.01518) adds gamma times what a transformer reads of the picture to each text and
trains it all. Here the text reads the picture by attention over frozen rows, and gamma alone is learned.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np
from annotated_types import Ge, Gt

from evenly.bounds import FINITE
from evenly.features.dense.maps import MapCut
from evenly.features.dense.method import (
    UNLABELLED,
    GivenRegions,
    LearnsFields,
    RegionNeed,
    Vocabulary,
    cell_labels,
)
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.unit_rows import Single

GAMMAS = (0.0, 0.1, 0.2, 0.4, 0.8)


@dataclass(frozen=True, kw_only=True)
class ScoreMaps(LearnsFields, MapCut):
    """Regions where a picture looks like a thing; gamma: how far texts lean, chosen among GAMMAS by `fit`.

    tau: the temperature of attention over cells.
    """

    gamma: Annotated[float, Ge(0), FINITE] = 0.0
    tau: Annotated[float, Gt(0), FINITE] = 0.07
    fitted: ClassVar[tuple[str, ...]] = ("gamma",)
    needs: ClassVar[frozenset[RegionNeed]] = frozenset()

    def cosines(self, dense: Dense, texts: Single) -> Single:
        """The cosine (n, c, h, w) of each cell with each text (c, d), scaled by the picture's context."""
        values: Single = np.einsum("nhwd,ncd->nchw", dense.cells, self.leaning(dense, texts), optimize=True)
        return values

    def leaning(self, dense: Dense, texts: Single) -> Single:
        """Unit texts (n, c, d): text + gamma * softmax(text Z / tau) Z, with Z the rows of a picture and its cells."""
        if self.gamma == 0:
            return np.broadcast_to(texts, (len(dense), *texts.shape))
        context = np.concatenate([dense.image[:, None], dense.cells.reshape(len(dense), -1, texts.shape[1])], axis=1)
        from scipy.special import softmax

        attention = softmax(np.einsum("cd,nkd->nck", texts, context) / self.tau, axis=2)
        return unit_length(texts + self.gamma * np.einsum("nck,nkd->ncd", attention, context))

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Take the gamma by which most cells of known regions have their label, each label counting alike."""
        labels = cell_labels(dense, regions, vocabulary.names)
        labelled, texts = labels != UNLABELLED, vocabulary.prototypes
        if not labelled.any():
            return self
        tried = [replace(self, gamma=gamma) for gamma in GAMMAS]
        shares = list[float]()
        for method in tried:
            right = (method.cosines(dense, texts).argmax(axis=1) == labels)[labelled]
            shares.append(
                float(np.mean([right[labels[labelled] == label].mean() for label in np.unique(labels[labelled])]))
            )
        return tried[int(np.argmax(shares))]

    def score(self, dense: Dense, vocabulary: Vocabulary, _named: GivenRegions) -> Regions:
        """The regions of all things."""
        maps = self.probabilities(self.cosines(dense, vocabulary.prototypes))
        return self.regions(dense, maps, vocabulary.names, source="score_maps")
