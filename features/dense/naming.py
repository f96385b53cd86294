"""Names of regions that another source gives: means over the cells of each, and its likeliest thing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Le

from evenly.bounds import FINITE
from evenly.features.dense.maps import LOW_SCORE
from evenly.features.dense.method import UNLABELLED, GivenRegions, cell_shares
from evenly.features.dense.regions import DIGITS, Regions
from evenly.features.dense.rows import Dense
from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single

UNSEEN = "unseen"
"""The reason of a region that lies beyond all that the encoder sees."""
Probabilities = npt.NDArray[np.float64]
LabelPlaces = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Naming of regions by their likeliest thing.

    scale: of cosines, before the softmax over things. min_score: the probability that a region must have; others keep
    their name, with `low_score` as their reason.
    """

    scale: Annotated[float, Gt(0), FINITE] = 100.0
    min_score: Annotated[float, Ge(0), Le(1)] = 0.0

    def probabilities_of(self, rows: Single, things: Single) -> Probabilities:
        """The probability (m, c) of each thing (c, d) for each row (m, d); zeros for a row of zeros."""
        from scipy.special import softmax

        shares: Probabilities = softmax(self.scale * (rows.astype(np.float64) @ things.T), axis=1)
        return shares * rows.any(axis=1, keepdims=True)

    def named(self, regions: Regions, probabilities: Probabilities, names: Sequence[str], *, source: str) -> Regions:
        """The regions with their likeliest thing and its probability (m, c), and `unseen` where that is 0.

        One that does not count stays as it is.
        """
        scores = probabilities.max(axis=1).round(DIGITS)
        columns = {
            "labels": np.array(names, object)[probabilities.argmax(axis=1)],
            "scores": scores,
            "sources": np.full(len(regions), source, object),
            "reasons": np.where(scores == 0, UNSEEN, np.where(scores < self.min_score, LOW_SCORE, "")).astype(object),
        }
        counts = regions.reasons == ""
        judged = {name: np.where(counts, values, getattr(regions, name)) for name, values in columns.items()}
        return Regions(**vars(regions) | judged)


def to_name(named: GivenRegions) -> Regions:
    """The regions to be named. Raises RowsError where there are none."""
    if named.regions is None:
        raise RowsError("`regions` must be those to be named; got None. Name their source.")
    return named.regions


def region_means(dense: Dense, regions: Regions, values: npt.NDArray[np.floating]) -> Single:
    """The mean (m, e) of values of cells (n, h, w, e), weighted by the share of each in a region; 0 of none."""
    means = np.zeros((len(regions), values.shape[3]), np.float32)
    for place in np.unique(regions.picture):
        of_cells = values[place].reshape(-1, values.shape[3])
        shares = cell_shares(dense, int(place), regions.of_picture(place)).reshape(-1, len(of_cells))
        sums = shares.sum(axis=1, keepdims=True)
        means[regions.picture == place] = shares / np.where(sums > 0, sums, 1) @ of_cells
    return means


def label_places(regions: Regions, names: Sequence[str]) -> LabelPlaces:
    """The place in `names` (m,) of each label; UNLABELLED of another, and of a region that does not count."""
    places = {name: place for place, name in enumerate(names)}
    pairs = zip(regions.labels, regions.reasons, strict=True)
    return np.array([UNLABELLED if reason else places.get(label, UNLABELLED) for label, reason in pairs], np.int64)


def share_right(winners: LabelPlaces, labels: LabelPlaces) -> float:
    """The share of `winners` (m,) that are right, each of the `labels` (m,) counting alike; 0 of none."""
    right = winners == labels
    shares = [right[labels == label].mean() for label in np.unique(labels[labels != UNLABELLED])]
    return float(np.mean(shares)) if shares else 0.0
