"""Claims on regions, by the names of the answers that tasks/adapters/region_methods.py gives."""

from collections.abc import Callable
from functools import partial

import numpy as np

from evenly.adapters.effects.claim import Claim
from evenly.adapters.effects.ground import Ground
from evenly.adapters.effects.region_boxes import detecting, false_boxes
from evenly.adapters.effects.regions import (
    CELLS,
    CHANCE,
    ONE_NAME,
    PICTURE,
    Compare,
    colouring,
    naming,
    numbering,
    ordering,
    outlining,
    segmenting,
    spotting,
    tagging,
)
from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.adapters.features import Booleans, Integers

PLAIN_MAPS, LEANING = "plain score maps", "score maps of texts that lean towards the picture"
POOLED, POOLED_BY_ANOTHER = "cells pooled by a second backbone", "cells pooled as those of another picture"
LEARNED, LEARNED_RULE = "cells pooled by learned convolutions", "the same with the learned background"
PLAIN_RULE = "plain score maps with the learned background"
NAME_MAPS, SHARED = "cells like the name", "cells like the name and like what retrieved pictures share"
SHARED_TRULY = "what pictures that truly show the thing share"
CELL_MEAN, HEADS, OTHER_HEADS = "mean of the region's cells", "heads on it", "heads that learnt names of other regions"
PLAIN_CROP, MASKED_CROP, CROP_AND_MAP = "plain crop", "masked crop", "masked crop and score map"
WINDOWS, WORDS_PICTURE = "best window by names", "the picture's row by names and synonyms"
WORDS_WINDOWS, WORDS_BOXES = "best window by names and synonyms", "best true region by names and synonyms"
EQUATION, WITH_PLACES = "subject, object and relation added to the row", "the same, and where the two things are"
WITH_OTHER_PLACES = "the same on another picture"
DESCRIBED, DESCRIBED_OTHERS = "heads that learnt colours", "heads that learnt colours of other regions"
DESCRIBED_CELLS, DESCRIBED_CROP, DESCRIBED_PICTURE = (f"colours by {of}" for of in (CELL_MEAN, PLAIN_CROP, PICTURE))
BLOCKS, ROW = "expected counts of blocks of cells", "the same of the picture's row"
ALL_BLOCKS, ALL_ROW, ALL_MEAN = (f"{of}, of one name for all" for of in (BLOCKS, ROW, "the mean count"))
MAP_REGIONS, MEAN_COUNT = "regions of plain score maps, counted", "the mean count of other pictures"
STATES, STATES_PICTURE = "texts of damage alone", "texts of damage on the picture's row"
SAMPLED, UNSAMPLED = "texts with sampled biases", "learned texts without biases"
SAMPLED_OTHERS = "texts that learned defects of other pictures"
MAP_BOXES, SCENE_BOXES = "boxes of score maps", "boxes beside words for scenes"
ROW_BOXES, ROW_BOXES_WHOLE = "boxes beside a learned background", "the same with boxes that are parts of others"
ALL_BOXES, PROPOSED = "all boxes of score maps", "proposals named by texts and trained rows"
PROPOSED_TEXTS, PROPOSED_UNSEEN = "proposals named by texts", "proposals that learnt two thirds of the classes"
BUSY = ("on bricks", "on grass", "on gravel")
_OBJECTS = "two or three objects on a picture"


def _all(_ground: Ground, _truth: RegionTruth, rows: Integers) -> Booleans:
    return np.ones(len(rows), np.bool_)


def _on_busy(ground: Ground, truth: RegionTruth, rows: Integers) -> Booleans:
    return np.isin(ground.column("background", truth.picture[rows]), BUSY)


def _thin(_ground: Ground, truth: RegionTruth, rows: Integers) -> Booleans:
    """Objects that fill less than half of their boxes."""
    areas = (truth.boxes[rows, 2:] - truth.boxes[rows, :2]).prod(axis=1)
    pixels = [truth.decode(str(truth.masks[row]), int(truth.picture[row])).sum() for row in rows]
    return np.asarray(np.array(pixels) < areas / 2)


def _claims(
    number: int, system: str, judge: Callable[..., Compare], measure: str, condition: str, *arms: tuple[str, ...]
) -> tuple[Claim, ...]:
    """A claim for each method, rival and, where there are, control and ceiling."""
    columns = ("method", "rival", "control", "ceiling")
    by_name = [{name: arm for name, arm in zip(columns, of_one, strict=False) if arm} for of_one in arms]
    return tuple(
        Claim(
            number=number,
            system=system,
            method=names["method"],
            rival=names["rival"],
            measure=measure,
            condition=condition,
            control=names.get("control", ""),
            ceiling=names.get("ceiling", ""),
            compare=judge(**names),
            draws=False,
        )
        for names in by_name
    )


_NAMES, _MAPS = "R@1 of the class of an object", "mIoU of objects"
_KNOWN = "things that are known to be on a picture, one to three times"
_THINGS, _TAGS = "pictures of two classes or more", "average precision of the classes on a picture"
_DEFECTS = "holes, scratches and missing parts of one of two or three objects"
REGION_CLAIMS = (
    Claim(
        number=44,
        system="CLOC's question",
        method=PICTURE,
        rival=CHANCE,
        measure=_NAMES,
        condition="one to three objects, one or two classes on a picture",
        ceiling=ONE_NAME,
        compare=naming(method=PICTURE, rival=CHANCE, ceiling=ONE_NAME),
    ),
    Claim(
        number=12,
        system="DenseCLIP's question",
        method=f"the class by {PICTURE} on each pixel",
        rival="a class by chance on each pixel",
        measure="mIoU with background",
        condition="one to three objects, one or two classes on a picture",
        ceiling=CELLS,
        compare=segmenting(background=True, method=PICTURE, rival=CHANCE, ceiling=CELLS),
    ),
    *_claims(
        12, "DenseCLIP", partial(segmenting, crowded=True), _MAPS, _OBJECTS, (LEANING, PLAIN_MAPS, "", CELLS)
    ),
    *_claims(
        28, "CLIP-DINOiser", partial(segmenting, crowded=True), _MAPS, _OBJECTS,
        (POOLED, PLAIN_MAPS, POOLED_BY_ANOTHER, CELLS),
        (LEARNED, PLAIN_MAPS, "", CELLS),
    ),
    *_claims(
        28, "CLIP-DINOiser", partial(segmenting, crowded=True, background=True), "mIoU with background", _OBJECTS,
        (LEARNED_RULE, LEARNED, "", CELLS),
        (LEARNED_RULE, PLAIN_RULE, "", CELLS),
    ),
    *_claims(24, "ReCo", partial(segmenting, crowded=True), _MAPS, _OBJECTS, (SHARED, NAME_MAPS, "", SHARED_TRULY)),
    *_claims(
        24, "ReCo", outlining, "IoU of a thing that is known",
        f"{_OBJECTS}; those retrieved by its name are said to share it", (SHARED, NAME_MAPS, "", SHARED_TRULY),
    ),
    *_claims(
        16, "OVSeg", partial(naming, subset=_all), _NAMES, f"{_OBJECTS}, with its true mask",
        (MASKED_CROP, PLAIN_CROP),
        (CROP_AND_MAP, MASKED_CROP),
    ),
    *_claims(
        16, "OVSeg", partial(naming, subset=_on_busy), _NAMES, "bricks, grass and gravel behind it",
        (MASKED_CROP, PLAIN_CROP),
    ),
    *_claims(
        16, "OVSeg", partial(naming, subset=_thin), _NAMES, "objects that fill less than half of their boxes",
        (MASKED_CROP, PLAIN_CROP),
    ),
    *_claims(
        44, "CLOC", partial(naming, subset=_all), _NAMES, f"{_OBJECTS}, in its true box",
        (HEADS, MASKED_CROP, OTHER_HEADS),
        (HEADS, CELL_MEAN, OTHER_HEADS),
        (CELL_MEAN, PICTURE),
    ),
    *_claims(
        9, "OvarNet", colouring, "mean average precision of the colours of objects", f"{_OBJECTS}, in its true box",
        (DESCRIBED, DESCRIBED_CROP, DESCRIBED_OTHERS),
        (DESCRIBED, DESCRIBED_PICTURE, DESCRIBED_OTHERS),
        (DESCRIBED, DESCRIBED_CELLS, DESCRIBED_OTHERS),
    ),
    *_claims(
        35, "OpenSD", detecting, "average precision of boxes at IoU .5", _OBJECTS,
        (PROPOSED, ALL_BOXES, "", CELLS),
        (PROPOSED, PROPOSED_TEXTS, "", CELLS),
    ),
    *_claims(
        35, "OpenSD", partial(detecting, unseen=True), "average precision of boxes at IoU .5",
        f"{_OBJECTS}, of classes that are not learnt", (PROPOSED_UNSEEN, ALL_BOXES, "", CELLS),
    ),
    *_claims(
        19, "BIRDet", false_boxes, "false boxes on a picture, as a negative number, at equal recall on val",
        f"{_OBJECTS}, IoU .5",
        (SCENE_BOXES, MAP_BOXES),
        (ROW_BOXES, MAP_BOXES),
        (ROW_BOXES, ROW_BOXES_WHOLE),
    ),
    *_claims(6, "GRAIN", tagging, _TAGS, _OBJECTS, (WINDOWS, PICTURE)),
    *_claims(
        6, "GRAIN", partial(tagging, least=2), _TAGS, _THINGS,
        (WINDOWS, PICTURE),
        (WORDS_WINDOWS, WORDS_PICTURE),
        (WORDS_BOXES, WORDS_PICTURE),
    ),
    *_claims(
        51, "Bayes-PFL", partial(spotting, pixels=False), "AUROC of pictures with a defect", _DEFECTS,
        (SAMPLED, STATES, SAMPLED_OTHERS),
        (SAMPLED, STATES_PICTURE, SAMPLED_OTHERS),
        (SAMPLED, UNSAMPLED),
    ),
    *_claims(
        51, "Bayes-PFL", partial(spotting, pixels=True), "AUROC of pixels of defects", _DEFECTS,
        (SAMPLED, STATES, SAMPLED_OTHERS),
        (SAMPLED, UNSAMPLED),
    ),
    *_claims(
        45, "ComCLIP", ordering, "captions above the same with its relation turned",
        "two things, the one left of, right of, above or below the other",
        (EQUATION, PICTURE),
        (WITH_PLACES, PICTURE, WITH_OTHER_PLACES),
        (WITH_PLACES, EQUATION),
    ),
    *_claims(
        49, "CLIP-EBC", numbering, "MAE of counts, times -1", _KNOWN,
        (BLOCKS, ROW),
        (BLOCKS, MAP_REGIONS),
        (BLOCKS, MEAN_COUNT),
    ),
    *_claims(
        49, "CLIP-EBC", numbering, "MAE of counts, times -1", "all objects of a picture, two or three",
        (ALL_BLOCKS, ALL_ROW),
        (ALL_BLOCKS, ALL_MEAN),
    ),
    *_claims(49, "CLIP-EBC", partial(numbering, squared=True), "RMSE of counts, times -1", _KNOWN, (BLOCKS, ROW)),
)  # fmt: skip
