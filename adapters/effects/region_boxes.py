"""Judges of claims on boxes of things: how many are false."""

from dataclasses import replace

import numpy as np

from evenly.adapters.effects.claim import JudgedClaim
from evenly.adapters.effects.ground import Ground
from evenly.adapters.effects.regions import Compare, answer_of, judged_claim, true_regions
from evenly.adapters.evaluation.regions.ranking import matched_regions
from evenly.adapters.evaluation.regions.weighted import ratio_measure


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
