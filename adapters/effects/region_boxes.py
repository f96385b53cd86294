"""Judges of claims on boxes of things: how many are false, and the average precision of their classes."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from evenly.adapters.effects.claim import JudgedClaim
from evenly.adapters.effects.ground import Ground
from evenly.adapters.effects.regions import CELLS, Compare, answer_of, in_cells, judged_claim, true_maps, true_regions
from evenly.adapters.evaluation.regions.ranking import detection_measure, matched_regions
from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.adapters.evaluation.regions.weighted import Measure, ratio_measure
from evenly.adapters.features import Floats, Integers


def false_boxes(**arms: str) -> Compare:
    """Boxes on crowded test pictures that match no object of their class by an IoU of .5, as a negative number.

    Answers: regions, whose picture is a place among the crowded ones. Groups are those of pictures.
    """

    def compare(ground: Ground, _seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        pictures, truth = regions.truth.crowded("test"), replace(regions.truth, labels=regions.truth.kinds)
        measures = {}
        for arm, name in arms.items():
            boxes = answer_of(regions, name).values
            boxes = replace(boxes, picture=pictures[boxes.picture])
            wrong = boxes.picture[matched_regions(boxes, truth) < 0]
            counts = np.bincount(wrong, minlength=len(truth.sizes))[pictures]
            measures[arm] = ratio_measure(-counts, np.ones(len(pictures)))
        return judged_claim(regions, arms, measures, truth.groups[pictures])

    return compare


def detecting(*, unseen: bool = False, **arms: str) -> Compare:
    """Average precision of boxes at an IoU of .5, on crowded test pictures, by class; groups are those of pictures.

    Answers: as of `false_boxes`. unseen: of the classes alone that `unseen_classes` leaves out of fitting.
    """

    def compare(ground: Ground, _seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        pictures, measures = regions.truth.crowded("test"), {}
        truth = replace(regions.truth, labels=regions.truth.kinds)
        classes = unseen_classes(ground.classes) if unseen else list(ground.classes)
        for arm, name in arms.items():
            if name == CELLS:
                boxes = _cell_boxes(truth, ground.classes, pictures)
            else:
                boxes = answer_of(regions, name).values
                boxes = replace(boxes, picture=pictures[boxes.picture])
            matches, n = matched_regions(boxes, truth), len(truth.sizes)
            measure = detection_measure(boxes, truth, matches, n_pictures=n, classes=classes)
            measures[arm] = partial(_of_pictures, measure, pictures, n)
        return judged_claim(regions, arms, measures, truth.groups[pictures])

    return compare


def unseen_classes(classes: Sequence[str]) -> list[str]:
    """Every third class, which some answers are fitted without."""
    return list(classes[::3])


def _cell_boxes(truth: RegionTruth, classes: Sequence[str], pictures: Integers) -> RegionTruth:
    """Boxes of the parts that hang together of each class in maps of cells."""
    from scipy.ndimage import find_objects, label

    rows = list[tuple[int, tuple[int, ...], str]]()
    for picture, drawn in zip(pictures, true_maps(truth, classes, pictures, step=1), strict=True):
        cells = in_cells(drawn, background=True)
        for number in np.unique(cells[cells > 0]):
            for lines, columns in find_objects(label(cells == number)[0]):
                rows.append((picture, (columns.start, lines.start, columns.stop, lines.stop), classes[number - 1]))
    places, boxes, labels = zip(*rows, strict=True)
    return replace(truth, picture=np.array(places), boxes=np.array(boxes, float), labels=np.array(labels, object))


def _of_pictures(measure: Measure, pictures: Integers, n: int, weights: Floats) -> Floats:
    """A measure of n pictures by the weights of some of them, the others weighing nothing."""
    of_all = np.zeros((len(weights), n))
    of_all[:, pictures] = weights
    return measure(of_all)
