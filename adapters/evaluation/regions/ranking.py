"""Ranked regions: average precision of boxes, masks and attributes; recall of regions and texts among the first k."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.evaluation.regions.overlaps import Decode, RegionRows, box_overlaps, mask_overlaps
from evenly.adapters.evaluation.regions.weighted import Measure, quotients, ratio_measure
from evenly.adapters.features import Booleans, Floats, Integers

RECALLS = np.linspace(0.0, 1.0, 101)


def matched_regions(
    regions: RegionRows, truth: RegionRows, *, decode: Decode | None = None, least: float = 0.5
) -> Integers:
    """The place in `truth` of what each region matches (m,), -1 of one that matches nothing; each is matched once.

    As COCO does: in each picture and label the regions by score, each to the free one that it overlaps most, by `least`
    or more. Overlaps are of boxes; with `decode` of masks, a region without one overlapping nothing.
    """
    matches = np.full(len(regions.picture), -1, dtype=np.int64)
    ours, theirs = _places(regions), _places(truth)
    for key in ours.keys() & theirs.keys():
        first, second = np.array(ours[key]), np.array(theirs[key])
        first = first[np.argsort(-regions.scores[first], kind="stable")]
        if decode is None:
            overlaps = box_overlaps(regions.boxes[first], truth.boxes[second])
        else:
            lengths = (regions.masks[first], truth.masks[second])
            overlaps = mask_overlaps(*(np.stack([decode(str(mask), key[0]) for mask in masks]) for masks in lengths))
        for place, of_region in zip(first, overlaps, strict=True):
            best = len(second) - 1 - int(of_region[::-1].argmax())  # of equal overlaps the last, as in COCO's code
            if of_region[best] >= min(least, 1 - 1e-10):
                matches[place] = second[best]
                overlaps[:, best] = -1
    return matches


def detection_measure(
    regions: RegionRows, truth: RegionRows, matches: Integers, *, n_pictures: int, classes: Sequence[str]
) -> Measure:
    """COCO's average precision of each class, at 101 recalls; rows are pictures.

    matches: by `matched_regions`. Of equal scores the first goes first, NaN last. A class that is not in `truth` is
    absent, and its regions count nowhere.
    """
    rows = [np.flatnonzero(regions.labels == name) for name in classes]
    rows = [of_class[np.lexsort((regions.picture[of_class], -regions.scores[of_class]))] for of_class in rows]
    totals = [np.bincount(truth.picture[truth.labels == name], minlength=n_pictures) for name in classes]

    def measure(weights: Floats) -> Floats:
        values = np.full((len(weights), len(rows)), np.nan)
        for column, (of_class, of_truth) in enumerate(zip(rows, totals, strict=True)):
            total = weights @ of_truth
            of_rows = weights[:, regions.picture[of_class]]
            right = np.cumsum(of_rows * (matches[of_class] >= 0), axis=1)
            precision = right / (of_rows.cumsum(axis=1) + np.spacing(1))
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            recalls = right / np.where(total > 0, total, 1)[:, None]
            reached = np.searchsorted(RECALLS, recalls, side="right")  # those that are not have a precision of 0
            sums = (best * np.diff(reached, axis=1, prepend=0)).sum(axis=1)
            values[total > 0, column] = sums[total > 0] / len(RECALLS)
        return values

    return measure


def attribute_measure(scores: Floats, positives: Booleans, judged: Booleans | None = None) -> Measure:
    """Average precision of each attribute over regions, by scores (m, a) and truth (m, a); rows are regions.

    The sum of precisions at each step of recall, as scikit-learn has it, equal scores being one step. Regions whose
    attribute is not `judged` (m, a), such as a colour that is not known, do not count; an attribute of none is absent.
    """
    kept = np.ones(positives.shape, dtype=np.bool_) if judged is None else judged
    rows = [np.flatnonzero(column) for column in kept.T]
    orders = [of_one[np.argsort(-scores[of_one, column], kind="stable")] for column, of_one in enumerate(rows)]

    def measure(weights: Floats) -> Floats:
        values = np.full((len(weights), len(orders)), np.nan)
        for column, order in enumerate(orders):
            of_rows = weights[:, order]
            last = np.flatnonzero(np.append(np.diff(scores[order, column]) != 0, True))[: len(order)]
            right = (of_rows * positives[order, column]).cumsum(axis=1)[:, last]
            precision = right / np.maximum(of_rows.cumsum(axis=1)[:, last], np.spacing(1))
            sums = (np.diff(right, axis=1, prepend=0) * precision).sum(axis=1)
            if len(order):
                values[:, column] = quotients(sums, right[:, -1])
        return values

    return measure


def answer_ranks(scores: Floats, belongs: Booleans, gallery: Booleans | None = None) -> Integers:
    """The rank, from 1, of each query's first answer (q,) in a gallery, by scores (q, g); 0 of a query without any.

    belongs, gallery (q, g): what is an answer, and what is looked through, by default all. Equal scores count against.
    """
    looked = np.ones(belongs.shape, dtype=np.bool_) if gallery is None else gallery
    answers = belongs & looked
    best = np.where(answers, scores, -np.inf).max(axis=1, initial=-np.inf)
    ahead = (looked & ~belongs & (scores >= best[:, None])).sum(axis=1)
    return np.where(answers.any(axis=1), ahead + 1, 0)


def ranks_in_pictures(scores: Floats, labels: Integers, picture: Integers) -> tuple[Integers, Integers]:
    """The first region of each text in its picture: the text's rank (q,) and a region of that text (q,), for its group.

    scores (m, c): of regions with all texts; labels (m,): the text of each. A text of all regions of its picture is
    left out, because nothing else can be taken for it.
    """
    ranks, regions = list[Integers](), list[Integers]()
    for rows in np.split(np.argsort(picture, kind="stable"), np.flatnonzero(np.diff(np.sort(picture))) + 1):
        texts, first = np.unique(labels[rows], return_index=True)
        if len(texts) > 1:
            ranks.append(answer_ranks(scores[np.ix_(rows, texts)].T, texts[:, None] == labels[rows]))
            regions.append(rows[first])
    nothing = np.zeros(0, np.int64)
    return np.concatenate([nothing, *ranks]), np.concatenate([nothing, *regions])


def recall_measure(ranks: Integers, k: int = 1) -> Measure:
    """The share of queries, the rows, whose rank is 1 to k; those of rank 0 have no answer and do not count."""
    return ratio_measure((ranks >= 1) & (ranks <= k), ranks >= 1)


def region_counts(picture: Integers, labels: npt.NDArray[Any], *, n_pictures: int, names: Sequence[str]) -> Integers:
    """The number of regions of each name in each picture (n, c)."""
    return np.stack([np.bincount(picture[labels == name], minlength=n_pictures) for name in names], axis=1)


def _places(regions: RegionRows) -> dict[tuple[int, str], list[int]]:
    """The places of the regions of each picture and label."""
    places: dict[tuple[int, str], list[int]] = {}
    for place, key in enumerate(zip(regions.picture.tolist(), regions.labels.tolist(), strict=True)):
        places.setdefault(key, []).append(place)
    return places
