"""Background beside the names: cells that look like the scene, or like what regions leave out, make no region.

BIRDet (Zeng et al. 2024, arXiv:2410.08645) makes a detector's background of the scenes that a trained network names,
and drops boxes that show a part of another. No public code is known. Here the encoder's row of the picture names the
scenes; the learned row is ours.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le, MinLen

from evenly.bounds import FINITE
from evenly.features.dense.maps import MapCut
from evenly.features.dense.method import GivenRegions, LearnsArrays, RegionNeed, Vocabulary, covered_shares
from evenly.features.dense.regions import Boxes, Regions
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.unit_rows import Single

PARTIAL_BOX = "partial"
SCENE_WORDS = (
    "sky", "clouds", "grass", "leaves", "sand", "snow", "water", "rock", "wall", "bricks", "wood", "floor", "carpet",
    "road", "field", "curtain", "fabric", "paper", "pattern", "texture",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Background(LearnsArrays, MapCut):
    """Regions where a name is likelier than background, which is the mean of a picture's likeliest scenes.

    scenes: words, of which the `top` nearest to the picture's row are averaged. `fit` learns one background row of
    cells that no region covers instead, with `penalty` times its squared length. overlap: a box of which a larger share
    lies in a box of its label and of a higher score goes as `partial`; 1: none does.
    """

    scenes: Annotated[tuple[str, ...], MinLen(1)] = SCENE_WORDS
    top: Annotated[int, Ge(1)] = 3
    overlap: Annotated[float, Ge(0), Le(1)] = 0.5
    penalty: Annotated[float, Ge(0), FINITE] = 1e-5
    needs: ClassVar[frozenset[RegionNeed]] = frozenset()

    def logits(self, dense: Dense, vocabulary: Vocabulary) -> Single:
        """The logit (n, 1 + c, h, w) of background and of each thing in each cell."""
        things = self.scale * np.einsum("nhwd,cd->nchw", dense.cells, vocabulary.prototypes, optimize=True)
        if self.learned:
            background = dense.cells @ self.learned["row"] + self.learned["bias"]
        else:
            scenes = nearest_mean(dense.image, vocabulary.encode(self.scenes), self.top)
            background = self.scale * np.einsum("nhwd,nd->nhw", dense.cells, scenes, optimize=True)
        logits: Single = np.concatenate([background[:, None], things], axis=1)
        return logits

    def maps(self, dense: Dense, vocabulary: Vocabulary) -> Single:
        """The probability (n, 1 + c, h, w) of background and of each thing in each cell."""
        return replace(self, scale=1).probabilities(self.logits(dense, vocabulary))

    def score(self, dense: Dense, vocabulary: Vocabulary, _named: GivenRegions) -> Regions:
        """The regions of all things, without those that are parts of others."""
        maps = self.maps(dense, vocabulary)
        regions = self.regions(dense, maps[:, 1:], vocabulary.names, source="background", background=maps[:, 0])
        return without_parts(regions, self.overlap)

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Learn the background row by cross-entropy beside the things, whose rows stay; itself without any regions.

        Cells that no region covers are background, those covered by half or more are not; others do not count, nor do
        pictures without regions.
        """
        from scipy.special import logsumexp

        covered = covered_shares(dense, regions)
        known = (covered == 0) | (covered >= 0.5)
        if not known.any():
            return self
        cells = dense.cells[known]
        of_things = logsumexp(self.scale * cells.astype(np.float64) @ vocabulary.prototypes.T, axis=1)
        row, bias = fitted_row(cells, covered[known] == 0, of_things, self.penalty)
        return self.with_arrays({"row": row, "bias": bias})


def fitted_row(
    cells: Single, shares: npt.NDArray[Any], offsets: npt.NDArray[np.float64], penalty: float
) -> tuple[Single, Single]:
    """The row (d,) and bias (1,) of the logit cells . row + bias - offsets of `shares` (m,), by cross-entropy.

    penalty: times the squared length of the row.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    rows, targets = cells.astype(np.float64), shares.astype(np.float64)

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        row, margins = parameters[:-1], rows @ parameters[:-1] + parameters[-1] - offsets
        errors = expit(margins) - targets
        value = np.mean(np.logaddexp(0, margins) - targets * margins) + penalty * row @ row
        slope = np.append(rows.T @ errors / len(rows) + 2 * penalty * row, errors.mean())
        return float(value), slope

    fitted = minimize(loss, np.zeros(cells.shape[1] + 1), jac=True, method="L-BFGS-B").x.astype(np.float32)
    return fitted[:-1], fitted[-1:]


def nearest_mean(rows: Single, bank: Single, count: int) -> Single:
    """The unit mean (n, d) of the `count` rows of a bank (k, d) that are nearest to each row (n, d)."""
    order = np.argsort(-(rows @ bank.T), axis=1, kind="stable")[:, :count]
    return unit_length(bank[order].mean(axis=1))


def without_parts(regions: Regions, overlap: float) -> Regions:
    """The regions, `partial` those that lie by more than `overlap` of their area in a better one of their label.

    Of those that count, in one picture; the share is of boxes, and not IoU.
    """
    reasons = regions.reasons.copy()
    counting = np.flatnonzero(regions.reasons == "")
    for place in counting:
        is_rival = (regions.picture[counting] == regions.picture[place]) & (
            regions.labels[counting] == regions.labels[place]
        )
        better = counting[is_rival & (regions.scores[counting] > regions.scores[place])]
        box = regions.boxes[place]
        shares = shared_areas(box, regions.boxes[better]) / (box[2:] - box[:2]).prod()
        reasons[place] = PARTIAL_BOX if (shares > overlap).any() else ""
    return replace(regions, reasons=reasons)


def shared_areas(box: Boxes, rivals: Boxes) -> Boxes:
    """The area (m,) that a box (4,) has in common with each of rivals (m, 4)."""
    low, high = np.maximum(box[:2], rivals[:, :2]), np.minimum(box[2:], rivals[:, 2:])
    areas: Boxes = np.clip(high - low, 0, None).prod(axis=1)
    return areas
