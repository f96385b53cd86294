"""Overlaps of boxes, of masks and of label maps."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Booleans, Floats, Integers

Decode: TypeAlias = Callable[[str, int], Booleans]
"""Run lengths and the place of their picture to the mask (h, w); "" to an empty one."""


class RegionRows(Protocol):
    """Regions of pictures as flat arrays: the picture's place (m,), boxes (m, 4), masks, labels and scores (m,).

    A box is x0, y0, x1, y1 in pixels, x1 and y1 the first beyond it; a mask the counts of COCO's compressed run lengths
    in the picture's size, "" where there is none.
    """

    @property
    def picture(self) -> Integers: ...  # noqa: D102
    @property
    def boxes(self) -> Floats: ...  # noqa: D102
    @property
    def masks(self) -> npt.NDArray[Any]: ...  # noqa: D102
    @property
    def labels(self) -> npt.NDArray[Any]: ...  # noqa: D102
    @property
    def scores(self) -> Floats: ...  # noqa: D102


def box_overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union of boxes (a, 4) and (b, 4): (a, b), 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1] - shared
    return np.asarray(shared / np.where(union > 0, union, 1))


def mask_overlaps(first: Booleans, second: Booleans) -> Floats:
    """Intersection over union of masks (a, h, w) and (b, h, w): (a, b), 0 where both are empty."""
    flat = [masks.reshape(len(masks), -1).astype(np.float32) for masks in (first, second)]
    shared = (flat[0] @ flat[1].T).astype(np.float64)
    union = first.sum(axis=(1, 2))[:, None] + second.sum(axis=(1, 2)) - shared
    return np.asarray(shared / np.where(union > 0, union, 1))


def map_overlaps(
    predicted: Iterable[Integers], truth: Iterable[Integers], *, n_classes: int, background: bool
) -> tuple[Floats, Floats, Floats]:
    """Pixels of intersection, of union and of truth of each class in each picture: three of (n, c).

    Maps (h, w) hold 0 for background, else the number of a class from 1. With `background` it is the first of
    n_classes + 1 columns; without, pixels that are background in truth are not judged. mIoU is
    `ratio_measure(*map_overlaps(...))`: a class that no picture truly has is absent.
    """
    rows = []
    for number, (of_prediction, of_truth) in enumerate(zip(predicted, truth, strict=True)):
        highest = max(of_prediction.max(initial=0), of_truth.max(initial=0))
        if of_prediction.shape != of_truth.shape or highest > n_classes or of_prediction.min(initial=0) < 0:
            raise InvalidFeaturesError(
                f"`predicted` must have the shape of `truth`, {of_truth.shape}, and numbers of 0 to {n_classes}; got "
                f"{of_prediction.shape} at picture {number}. Enlarge the map to its picture."
            )
        judged = np.ones(of_truth.shape, np.bool_) if background else of_truth > 0
        ours, true = of_prediction[judged], of_truth[judged]
        shared, of_ours, of_true = (np.bincount(v, minlength=n_classes + 1) for v in (true[ours == true], ours, true))
        rows.append((shared, of_ours + of_true - shared, of_true))
    counts = np.array(rows, dtype=np.float64).reshape(-1, 3, n_classes + 1)[:, :, 0 if background else 1 :]
    return counts[:, 0], counts[:, 1], counts[:, 2]
