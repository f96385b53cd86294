"""Things of pictures by descriptions of their parts: the score of the whole picture, and that of its best region.

GRAIN (Halbe et al. 2024, arXiv:2412.04429; shaunak27/grain-clip 16ce494) trains an encoder that gives rows of five
regions. Its evaluation takes the best description of each and the mean over regions.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from evenly.bounds import Cosine
from evenly.features.dense.method import UNLABELLED, GivenRegions, LearnsFields, RegionNeed, Vocabulary
from evenly.features.dense.naming import LabelPlaces, label_places, region_means, to_name
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense, unit_length

REGION_WEIGHTS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 1.0)
Cosines = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DescribedParts(LearnsFields):
    """A region for each thing on a picture whose score reaches min_score: the best, with the description that fits.

    score: (1 - weight) cos(picture, thing) + weight * the best, or mean, over regions of the best, or mean, cosine with
    the texts of the thing. `fit` chooses weight among REGION_WEIGHTS, and min_score. within: windows, of so much of the
    grid's sides, or boxes of another source.
    """

    fitted: ClassVar[tuple[str, ...]] = ("weight", "min_score")
    weight: Annotated[float, Ge(0), Le(1)] = 0.5
    min_score: Cosine = 0.25
    over_texts: Literal["max", "mean"] = "max"
    over_regions: Literal["max", "mean"] = "max"
    within: Literal["windows", "boxes"] = "windows"
    window: Annotated[float, Gt(0), Le(1)] = 0.4

    @property
    def needs(self) -> frozenset[RegionNeed]:
        """Regions where they are `within` boxes."""
        return frozenset({"regions"} if self.within == "boxes" else ())

    def parts(self, dense: Dense, vocabulary: Vocabulary, regions: Regions) -> tuple[Cosines, Cosines, LabelPlaces]:
        """The scores (n, c) of things by pictures and by their regions, and the place (n, c) of the best region.

        A picture without regions has the former twice, and -1.
        """
        pool: dict[str, Any] = {"max": np.max, "mean": np.mean}
        by_picture = dense.image.astype(np.float64) @ vocabulary.prototypes.T
        cosines = unit_length(region_means(dense, regions, dense.cells)).astype(np.float64) @ vocabulary.rows.T
        labels = np.array(vocabulary.labels)
        of_things = [pool[self.over_texts](cosines[:, labels == name], axis=1) for name in vocabulary.names]
        things, by_region, best = np.stack(of_things, axis=1), by_picture.copy(), np.full(by_picture.shape, -1)
        for picture in np.unique(regions.picture):
            rows = np.flatnonzero(regions.picture == picture)
            by_region[picture] = pool[self.over_regions](things[rows], axis=0)
            best[picture] = rows[things[rows].argmax(axis=0)]
        return by_picture, by_region, best

    def joined(self, by_picture: Cosines, by_region: Cosines) -> Cosines:
        """The scores (n, c) of both."""
        return (1 - self.weight) * by_picture + self.weight * by_region

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """Take the weight and min_score of the greatest F1 of things on pictures of known regions, by windows."""
        labels = label_places(regions, vocabulary.names)
        truth = np.zeros((len(dense), len(vocabulary.names)), np.bool_)
        truth[regions.picture[labels != UNLABELLED], labels[labels != UNLABELLED]] = True
        shown = np.flatnonzero(truth.any(axis=1))
        by_picture, by_region, _ = self.parts(dense[shown], vocabulary, windows(dense[shown], self.window))
        highest, fitted = 0.0, self
        for weight in REGION_WEIGHTS:
            scores = replace(self, weight=weight).joined(by_picture, by_region).ravel()
            order = np.argsort(-scores, kind="stable")
            f1 = 2 * truth[shown].ravel()[order].cumsum() / (np.arange(len(order)) + 1 + truth.sum())
            if len(f1) and f1.max() > highest:
                highest, min_score = float(f1.max()), float(scores[order[f1.argmax()]])
                fitted = replace(self, weight=weight, min_score=min_score)
        return fitted

    def score(self, dense: Dense, vocabulary: Vocabulary, named: GivenRegions) -> Regions:
        """The regions of things on pictures; a picture's own edges where it has no region."""
        regions = windows(dense, self.window) if self.within == "windows" else to_name(named).kept
        by_picture, by_region, best = self.parts(dense, vocabulary, regions)
        scores, rows = self.joined(by_picture, by_region), list[dict[str, Any]]()
        means = unit_length(region_means(dense, regions, dense.cells))
        labels = np.array(vocabulary.labels)
        for picture, thing in np.argwhere(scores >= self.min_score):
            place, name = int(best[picture, thing]), vocabulary.names[thing]
            texts = np.flatnonzero(labels == name)
            row = dense.image[picture] if place < 0 else means[place]
            rows.append({
                "picture": int(picture), "box": (0, 0, *dense.sizes[picture]) if place < 0 else regions.boxes[place],
                "mask": "" if place < 0 else regions.masks[place], "label": name, "source": "descriptions",
                "phrase": vocabulary.texts[texts[(vocabulary.rows[texts] @ row).argmax()]],
                "score": scores[picture, thing],
            })  # fmt: skip
        return Regions.from_rows(rows)


def windows(dense: Dense, share: float) -> Regions:
    """Boxes on each picture of so much of the grid's sides, one from each cell, cut at the picture's edges."""
    height, width = dense.cells.shape[1:3]
    high, wide = max(1, round(share * height)), max(1, round(share * width))
    rows = list[dict[str, Any]]()
    for picture, (frame, size) in enumerate(zip(dense.frames, dense.sizes, strict=True)):
        x, y = np.linspace(frame[0], frame[2], width + 1), np.linspace(frame[1], frame[3], height + 1)
        x, y = np.clip(x, 0, size[0]), np.clip(y, 0, size[1])
        boxes = [
            (x[column], y[line], x[column + wide], y[line + high])
            for line in range(height - high + 1)
            for column in range(width - wide + 1)
        ]
        rows += [{"picture": picture, "box": box} for box in boxes if box[0] < box[2] and box[1] < box[3]]
    return Regions.from_rows(rows)
