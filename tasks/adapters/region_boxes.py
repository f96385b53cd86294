"""Boxes of region methods on a ground, as tasks/adapters/region_methods.py has the answers of others."""

from dataclasses import replace

import numpy as np

from evenly.adapters.effects import region_claims as claims
from evenly.adapters.effects.ground import MethodAnswer
from evenly.adapters.effects.region_boxes import unseen_classes
from evenly.adapters.evaluation.regions.ranking import matched_regions
from evenly.adapters.features import Floats
from evenly.features.dense.method import GivenRegions, RegionMethod
from evenly.features.dense.methods.background import Background
from evenly.features.dense.methods.proposals import Proposals
from evenly.features.dense.methods.score_maps import ScoreMaps
from evenly.tasks.adapters.region_parts import CrowdedParts

RECALLED = 0.8
"""Boxes are compared at so much of the recall on val that the one has which finds least."""


def boxes_beside_background(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Boxes of plain maps and beside background, by scores from which on each has the same recall on val."""
    val, test, things = parts.val, parts.test, parts.things
    scenes = Background(min_score=0)
    learned = scenes.fit(parts.fit.dense, parts.fit.regions, things)
    with_parts = replace(learned, overlap=1.0).with_arrays(learned.arrays())
    methods: dict[str, RegionMethod] = {
        claims.MAP_BOXES: ScoreMaps(min_score=0),
        claims.SCENE_BOXES: scenes,
        claims.ROW_BOXES: learned,
        claims.ROW_BOXES_WHOLE: with_parts,
    }
    truth, right = val.regions, dict[str, Floats]()
    for name, method in methods.items():
        boxes = method.score(val.dense, things, GivenRegions()).kept
        scores = boxes.scores[matched_regions(boxes, replace(truth, scores=np.ones(len(truth)))) >= 0]
        right[name] = np.sort(scores)[::-1]
    count = round(RECALLED * min(map(len, right.values())))
    answers = dict[str, MethodAnswer]()
    for name, method in methods.items():
        boxes, least = method.score(test.dense, things, GivenRegions()).kept, right[name][count - 1] if count else 1.0
        chosen = {"threshold": float(least), "recall on val": count / max(1, len(truth))}
        answers[name] = MethodAnswer(values=boxes[boxes.scores >= least], chosen=chosen)
    return answers


def proposals(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Boxes of plain maps, and proposals by what was learned of all classes, or of those that are seen."""
    fit, test, things = parts.fit, parts.test, parts.things
    is_seen = ~np.isin(fit.regions.labels, unseen_classes(things.names))
    partly_named = replace(fit.regions, labels=np.where(is_seen, fit.regions.labels, ""))
    method, of_seen = (Proposals().fit(fit.dense, regions, things) for regions in (fit.regions, partly_named))
    by_texts = replace(method, weight=0.0).with_arrays(method.arrays())
    methods: dict[str, RegionMethod] = {
        claims.ALL_BOXES: ScoreMaps(min_score=0),
        claims.PROPOSED: method,
        claims.PROPOSED_TEXTS: by_texts,
        claims.PROPOSED_UNSEEN: of_seen,
    }
    boxes = {name: method.score(test.dense, things, GivenRegions()).kept for name, method in methods.items()}
    weights = {claims.PROPOSED: method, claims.PROPOSED_UNSEEN: of_seen}
    chosen = {name: {"weight": float(method.arrays()["weight"][0])} for name, method in weights.items()}
    return {name: MethodAnswer(values=of_one, chosen=chosen.get(name, {})) for name, of_one in boxes.items()}
