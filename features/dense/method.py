"""The contract of region methods: dense rows and named things in, regions of pictures out."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from evenly.features.dense.regions import Regions, decoded_mask
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single, checked_rows

RegionNeed = Literal["second", "regions", "crops", "training", "captions"]
"""A second backbone's rows; regions of another source, which are named; rows of their crops; regions to learn from; the
captions of pictures."""
RegionColumn = Literal["attributes", "counts"]
"""Columns that a method's regions have beside the ones of all: attributes and their scores; counts and densities."""
Arrays = Mapping[str, npt.NDArray[Any]]
UNLABELLED = -1


def _no_rows(texts: Sequence[str]) -> Single:
    raise RowsError(f"`encode` must give rows of {list(texts)[:3]}; there is none. Hand in a text encoder.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """Texts (t) that name or describe things, with the label (t,) of each and their unit rows (t, d).

    encode: unit rows (n, d) of texts of a method's own.
    """

    texts: Sequence[str]
    labels: Sequence[str]
    rows: Single
    encode: Callable[[Sequence[str]], Single] = _no_rows

    def __post_init__(self) -> None:
        checked_rows("rows", self.rows)
        if not len(self.texts) == len(self.labels) == len(self.rows):
            raise RowsError(
                f"`labels` and `rows` must have one entry for each of {len(self.texts)} texts; got {len(self.labels)} "
                f"and {len(self.rows)}. Hand in those of the same texts."
            )

    @property
    def names(self) -> list[str]:
        """The labels (c), each once, in the order of their first texts."""
        return list(dict.fromkeys(self.labels))

    @property
    def prototypes(self) -> Single:
        """A unit row (c, d) for each label: the mean of those of its texts."""
        places = {name: place for place, name in enumerate(self.names)}
        sums = np.zeros((len(places), self.rows.shape[1]), np.float32)
        np.add.at(sums, [places[label] for label in self.labels], self.rows)
        return unit_length(sums)


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenRegions:
    """Regions of another source, to be named, and the unit rows (m, d) of their crops; None where not asked for.

    captions: of the pictures (n,), likewise.
    """

    regions: Regions | None = None
    crops: Single | None = None
    captions: Sequence[str] | None = None


class RegionMethod(Protocol):
    """A method that finds regions, or names those that are given; its hyper-parameters are fields of a dataclass.

    learns_unlabelled: whether `fit` can do without regions.
    """

    learns_unlabelled: ClassVar[bool]

    columns: ClassVar[tuple[RegionColumn, ...]]

    @property
    def needs(self) -> frozenset[RegionNeed]:
        """The inputs that it must have beside dense rows and things."""
        ...

    def fit(self, dense: Dense, regions: Regions, vocabulary: Vocabulary) -> Self:
        """The method, with what it learns of regions whose labels are known; itself where it learns nothing."""
        ...

    def score(self, dense: Dense, vocabulary: Vocabulary, named: GivenRegions) -> Regions:
        """The regions of the pictures, each with its label, its score and, where it does not count, why."""
        ...

    def arrays(self) -> Arrays:
        """The parameters that were learned, by name; none where nothing was."""
        ...

    def with_arrays(self, arrays: Arrays) -> Self:
        """The method with what another one like it learned."""
        ...


class LearnsArrays:
    """The half of the contract of a method that learns arrays, which are its `learned`."""

    columns: ClassVar[tuple[RegionColumn, ...]] = ()
    learned: ClassVar[Arrays] = MappingProxyType({})
    learns_unlabelled: ClassVar[bool] = False

    def arrays(self) -> Arrays:
        """The arrays that were learned."""
        return dict(self.learned)

    def with_arrays(self, arrays: Arrays) -> Self:
        """The method with arrays that another one learned."""
        fitted = copy(self)
        object.__setattr__(fitted, "learned", dict(arrays))
        return fitted


class LearnsFields:
    """The half of the contract of a method that chooses numbers of its own fields, `fitted`."""

    columns: ClassVar[tuple[RegionColumn, ...]] = ()
    fitted: ClassVar[tuple[str, ...]]
    learns_unlabelled: ClassVar[bool] = False

    def arrays(self) -> Arrays:
        """The numbers that were chosen."""
        return {name: np.array([getattr(self, name)]) for name in self.fitted}

    def with_arrays(self, arrays: Arrays) -> Self:
        """The method with numbers that another one chose."""
        chosen = copy(self)
        for name in self.fitted:
            object.__setattr__(chosen, name, float(arrays[name][0]))
        return chosen


def cell_labels(dense: Dense, regions: Regions, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """The place in `names` (n, h, w) of the label that covers most, and half, of each cell; else UNLABELLED.

    By masks, and by boxes where there are none. Regions of other labels, and those that do not count, cover nothing.
    """
    places = {name: place for place, name in enumerate(names)}
    labels = np.full(dense.cells.shape[:3], UNLABELLED, np.int64)
    best = np.full(dense.cells.shape[:3], 0.5)
    counting = regions.kept
    for row in range(len(counting)):
        place = places.get(str(counting.labels[row]), UNLABELLED)
        picture = int(counting.picture[row])
        if place != UNLABELLED:
            covered = cell_shares(dense, picture, counting[np.array([row])])[0]
            wins = covered >= best[picture]
            labels[picture][wins], best[picture][wins] = place, covered[wins]
    return labels


def covered_shares(dense: Dense, regions: Regions) -> npt.NDArray[np.float64]:
    """The largest share (n, h, w) of each cell that a region which counts covers; NaN in pictures without any."""
    covered, kept = np.full(dense.cells.shape[:3], np.nan), regions.kept
    for picture in np.unique(kept.picture):
        covered[picture] = cell_shares(dense, int(picture), kept.of_picture(picture)).max(axis=0)
    return covered


def cell_shares(dense: Dense, place: int, regions: Regions) -> npt.NDArray[np.float64]:
    """The share (m, h, w) of each cell of a picture that lies in each of its regions, by mask, else by box."""
    shares = dense.weights(place, regions.boxes)
    width, height = (int(side) for side in dense.sizes[place])
    for row, counts in enumerate(regions.masks):
        if counts:
            shares[row] = _pooled(dense, place, decoded_mask(counts, (width, height)))
    return shares


def _pooled(dense: Dense, place: int, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The share (h, w) of each cell that a mask (height, width) covers; nothing beyond the picture."""
    h, w = dense.cells.shape[1:3]
    x0, y0, x1, y1 = dense.frames[place]
    sums = np.pad(mask.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    corners = sums[np.ix_(*dense.edges(place))]
    inside = np.diff(np.diff(corners, axis=0), axis=1)
    shares: npt.NDArray[np.float64] = np.clip(inside / ((y1 - y0) / h * (x1 - x0) / w), 0, 1)
    return shares
