"""Judges of claims on regions: names of things in pictures and where they are, by codes that nothing was fitted on.

An arm is the name of an answer of the ground (`GroundRegions`), or of a baseline that is computed here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.effects.claim import JudgedClaim, NotMeasurableError
from evenly.adapters.effects.effect import Arm, PairedArms, effect_of
from evenly.adapters.effects.ground import Ground, GroundRegions, MethodAnswer, nearest_class
from evenly.adapters.evaluation.measures.bootstrap import difference_columns
from evenly.adapters.evaluation.regions.overlaps import map_overlaps
from evenly.adapters.evaluation.regions.ranking import (
    answer_ranks,
    attribute_measure,
    recall_measure,
    region_counts,
)
from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.adapters.evaluation.regions.weighted import Measure, area_measure, class_mean, ratio_measure
from evenly.adapters.features import Booleans, Floats, Integers

CHANCE, PICTURE = "chance", "the picture's row"
ONE_NAME, CELLS = "the most frequent name of each picture", "truth in 7 x 7 cells"
STEP = 4
"""Maps of answers are judged at one of so many lines and columns, that in their middle."""
_CELLS = 7
Compare = Callable[[Ground, int], JudgedClaim]
Subset = Callable[[Ground, RegionTruth, Integers], Booleans]
"""Which of the objects at some places of the truth (m,) are judged."""


def naming(*, subset: Subset | None = None, **arms: str) -> Compare:
    """R@1 of each true region's class among all, on test pictures with a background; groups are the codes of regions.

    Answers: scores (m, c) of the regions of crowded pictures. With `subset` these alone are judged, and of them those
    that it takes.
    """

    def compare(ground: Ground, seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        truth = regions.truth
        rows = truth.rows_of(_judged(ground) if subset is None else truth.crowded("test"))
        if subset is not None:
            rows = rows[subset(ground, truth, rows)]
        belongs = truth.kinds[rows, None] == np.array(ground.classes, object)
        scores = {arm: _scores(ground, regions, name, seed)[rows] for arm, name in arms.items()}
        measures = {arm: recall_measure(answer_ranks(of_arm, belongs)) for arm, of_arm in scores.items()}
        return judged_claim(regions, arms, measures, truth.codes[rows])

    return compare


def colouring(**arms: str) -> Compare:
    """Mean average precision of the colours of true regions, of crowded test pictures, of which a colour is known.

    Answers: scores (m, a) of the regions of crowded pictures, by the names of colours. Groups are the codes of regions.
    """

    def compare(ground: Ground, _seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        truth, rows = regions.truth, regions.truth.rows_of(regions.truth.crowded("test"))
        coloured = rows[truth.colours[rows] != ""]
        is_colour = truth.colours[coloured, None] == np.array(truth.colour_names, object)
        measures = {
            arm: attribute_measure(np.asarray(answer_of(regions, name).values)[np.isin(rows, coloured)], is_colour)
            for arm, name in arms.items()
        }
        return judged_claim(regions, arms, measures, truth.codes[coloured])

    return compare


def tagging(*, least: int = 1, **arms: str) -> Compare:
    """Average precision of the classes on a picture, of crowded test pictures that show `least` classes or more.

    Answers: scores (n, c) of crowded pictures. Groups are those of pictures.
    """

    def compare(ground: Ground, _seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        pictures = regions.truth.crowded("test")
        shown = classes_shown(regions.truth, ground.classes, pictures)
        rows = shown.sum(axis=1) >= least
        measures = {}
        for arm, name in arms.items():
            scores = (
                ground.image[pictures] @ ground.prototypes(ground.classes).T
                if name == PICTURE
                else answer_of(regions, name).values
            )
            measures[arm] = ratio_measure(precisions(scores, shown)[rows], np.ones(rows.sum()))
        return judged_claim(regions, arms, measures, regions.truth.groups[pictures[rows]])

    return compare


def ordering(**arms: str) -> Compare:
    """Captions of two things that score above the same with their relation turned, on test pictures with both.

    Answers: a function of places among crowded pictures (m,), captions and turned ones, which gives how much more the
    former score (m,). Groups are the codes of pictures.
    """

    def compare(ground: Ground, _seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        crowded = regions.truth.crowded("test")
        places = np.flatnonzero(ground.column("turned_order", crowded) != "")
        pictures = crowded[places]
        captions = [ground.column(name, pictures).tolist() for name in ("order", "turned_order")]
        measures = {}
        for arm, name in arms.items():
            if name == PICTURE:
                first, second = map(ground.text, captions)
                margins = (ground.image[pictures] * (first - second)).sum(axis=1)
            else:
                margins = answer_of(regions, name).values(places, *captions)
            measures[arm] = ratio_measure(margins > 0, np.ones(len(places)))
        return judged_claim(regions, arms, measures, ground.column("code", pictures))

    return compare


def numbering(*, squared: bool = False, **arms: str) -> Compare:
    """The error of the counts of the things on crowded test pictures, times -1: MAE, or RMSE of `squared` errors.

    Answers: counts (n, c) of crowded pictures, of which those of classes that are there are judged, or (n, 1) of all
    objects. Groups are those of pictures.
    """

    def compare(ground: Ground, _seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        truth, pictures = regions.truth, regions.truth.crowded("test")
        counts = region_counts(truth.picture, truth.kinds, n_pictures=len(truth.sizes), names=ground.classes)[pictures]
        if answer_of(regions, arms["method"]).values.shape[1] == 1:
            counts = counts.sum(axis=1, keepdims=True)
        places, classes = np.nonzero(counts)

        def measure(name: str) -> Measure:
            errors = np.abs(answer_of(regions, name).values - counts)[places, classes]
            mean = ratio_measure(errors**2 if squared else errors, np.ones(len(errors)))
            return lambda weights: -np.sqrt(mean(weights)) if squared else -mean(weights)

        measures = {arm: measure(name) for arm, name in arms.items()}
        return judged_claim(regions, arms, measures, truth.groups[pictures[places]])

    return compare


def segmenting(*, background: bool = False, crowded: bool = False, **arms: str) -> Compare:
    """MIoU of classes on test pictures with a background; groups are those of pictures.

    Answers: a function that gives layers (c, h, w) of each crowded picture, or (1 + c, h, w) with background first, at
    one of STEP lines and columns. crowded: these pictures alone are judged, at as many. background: whether it is a
    class to be told from others, or not judged.
    """

    def compare(ground: Ground, seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        pictures, step = (regions.truth.crowded("test"), STEP) if crowded else (_judged(ground), 1)
        measures = {}
        for arm, name in arms.items():
            maps = (
                _sampled(_baseline_maps(ground, name, pictures, seed, background=background), step)
                if name in {CHANCE, PICTURE, CELLS}
                else (likeliest(layers, len(ground.classes)) for layers in answer_of(regions, name).values())
            )
            truth = true_maps(regions.truth, ground.classes, pictures, step=step)
            overlaps = map_overlaps(maps, truth, n_classes=len(ground.classes), background=background)
            measures[arm] = ratio_measure(*overlaps)
        return judged_claim(regions, arms, measures, ground.column("group", pictures))

    return compare


def outlining(**arms: str) -> Compare:
    """IoU of each thing on crowded test pictures, whose name is known: pixels where its layer is over a threshold.

    Answers: as of `segmenting`, without background; `chosen` has the `threshold`. Groups are those of pictures.
    """

    def compare(ground: Ground, _seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        pictures, measures, groups = regions.truth.crowded("test"), {}, np.array([])
        for arm, name in arms.items():
            answer = answer_of(regions, name)
            truth = true_maps(regions.truth, ground.classes, pictures, step=STEP)
            values, places = thing_overlaps(answer.values(), truth, np.array([answer.chosen["threshold"]]))
            measures[arm], groups = ratio_measure(values, np.ones_like(values)), regions.truth.groups[pictures[places]]
        return judged_claim(regions, arms, measures, groups)

    return compare


def spotting(*, pixels: bool, **arms: str) -> Compare:
    """AUROC of crowded test pictures with a defect, or of pixels in boxes of defects; groups are those of pictures.

    Answers: probabilities (n,) of pictures, and a function that gives layers (1, h, w) as that of `segmenting` does.
    """

    def compare(ground: Ground, _seed: int) -> JudgedClaim:
        regions = true_regions(ground)
        pictures = regions.truth.crowded("test")
        masks = list(regions.truth.defect_masks(pictures, step=STEP))
        measures = {}
        for arm, name in arms.items():
            scores, layers = answer_of(regions, name).values
            columns = ([layer[0].round(3) for layer in layers()], masks) if pixels else (scores, [*map(np.any, masks)])
            measures[arm] = area_measure(*columns)
        return judged_claim(regions, arms, measures, regions.truth.groups[pictures])

    return compare


def classes_shown(truth: RegionTruth, classes: Iterable[str], pictures: Integers) -> Booleans:
    """Which classes each picture shows (n, c)."""
    counts = region_counts(truth.picture, truth.kinds, n_pictures=len(truth.sizes), names=list(classes))
    return np.asarray(counts[pictures] > 0)


def precisions(scores: Floats, shown: Booleans) -> Floats:
    """The average precision (n,) of what each picture shows (n, c) by its scores (n, c)."""
    return np.asarray(attribute_measure(scores.T, shown.T)(np.ones((1, shown.shape[1])))[0])


def true_maps(truth: RegionTruth, classes: Iterable[str], pictures: Integers, *, step: int) -> Iterable[Integers]:
    """Maps (h, w) of pictures, of `step` lines and columns one: 0, or a class's number from 1."""
    return _sampled(truth.maps(replace(truth, labels=truth.kinds), list(classes), pictures), step)


def likeliest(layers: Floats, n_classes: int) -> Integers:
    """The map (h, w) of the largest of layers (c, h, w), or with background as the first (1 + c, h, w)."""
    return np.asarray(layers.argmax(axis=0) + (len(layers) == n_classes))


def thing_overlaps(layers: Iterable[Floats], truth: Iterable[Integers], thresholds: Floats) -> tuple[Floats, Integers]:
    """IoU (m, t) of each thing on each picture with the pixels over thresholds, and the place of its picture (m,)."""
    values, places = list[Floats](), list[int]()
    for place, (of_picture, true_map) in enumerate(zip(layers, truth, strict=True)):
        for number in np.unique(true_map[true_map > 0]):
            above, true = of_picture[number - 1, :, :, None] > thresholds, (true_map == number)[:, :, None]
            values.append((above & true).sum(axis=(0, 1)) / (above | true).sum(axis=(0, 1)))
            places.append(place)
    return np.array(values).reshape(-1, len(thresholds)), np.array(places, np.int64)


def measured_arms(measures: Mapping[str, Measure], groups: npt.NDArray[Any]) -> PairedArms:
    """The comparison of class means of measures of the same n rows, by the arm's name; groups (n,): a name each."""
    names, numbers = np.unique(groups, return_inverse=True)

    def arm(measure: Measure) -> Arm:
        return lambda weights: class_mean(measure, weights[:, numbers])

    return PairedArms(n_groups=len(names), **{name: arm(measure) for name, measure in measures.items()})


def baseline_table(measures: Mapping[str, Measure], groups: npt.NDArray[Any], *, seed: int) -> list[dict[str, Any]]:
    """A line for each measure of the same n rows, the method's first: value, and its difference to the method's.

    Each with its 95 % interval over groups (n,), paired; deciding: the groups that would show this difference four
    times in five.
    """
    lines, method = list[dict[str, Any]](), next(iter(measures))
    nothing: Measure = lambda weights: np.zeros((len(weights), 1))  # noqa: E731
    for name, measure in measures.items():
        value = effect_of([measured_arms({"method": measure, "rival": nothing}, groups)], seed=seed)
        gain = effect_of([measured_arms({"method": measures[method], "rival": measure}, groups)], seed=seed)
        line = {"name": name, "value": value.value, "low": value.gain.low, "high": value.gain.high}
        further = {} if name == method else difference_columns(gain.gain) | {"deciding": gain.deciding}
        lines.append(line | further | {"groups": value.n_groups})
    return lines


def true_regions(ground: Ground) -> GroundRegions:
    """The regions of a ground. Raises NotMeasurableError for one without any."""
    if ground.regions is None:
        raise NotMeasurableError("no regions: of this ground no masks were read")
    return ground.regions()


def _judged(ground: Ground) -> Integers:
    return np.concatenate([ground.where("test"), ground.where("test", kind="pair")])


def judged_claim(
    regions: GroundRegions, arms: Mapping[str, str], measures: Mapping[str, Measure], groups: npt.NDArray[Any]
) -> JudgedClaim:
    """The comparison of measures by arm, and what was chosen for their answers."""
    answers = {name: answer_of(regions, name) for name in arms.values() if name in regions.answers}
    chosen = {f"{key} of {name}": value for name, answer in answers.items() for key, value in answer.chosen.items()}
    return JudgedClaim(comparison=measured_arms(measures, groups), chosen=chosen)


def _scores(ground: Ground, regions: GroundRegions, name: str, seed: int) -> Floats:
    """Scores (m, c) of true regions with the classes; of regions that were not asked about 0, which is wrong."""
    truth, classes = regions.truth, ground.classes
    if name == CHANCE:
        return np.random.default_rng(seed).random((len(truth.picture), len(classes)))
    if name == PICTURE:
        return np.asarray(ground.image[truth.picture] @ ground.prototypes(classes).T)
    if name == ONE_NAME:
        counts = region_counts(truth.picture, truth.kinds, n_pictures=len(truth.sizes), names=classes)
        return np.asarray(np.eye(len(classes))[counts.argmax(axis=1)][truth.picture])
    scores = np.zeros((len(truth.picture), len(classes)))
    scores[truth.rows_of(truth.crowded("test"))] = answer_of(regions, name).values
    return scores


def _baseline_maps(ground: Ground, name: str, pictures: Integers, seed: int, *, background: bool) -> Iterable[Integers]:
    """Maps (h, w) of pictures: 0, or a class's number from 1."""
    truth = true_regions(ground).truth
    if name == CELLS:
        maps = true_maps(truth, ground.classes, pictures, step=1)
        return (in_cells(true_map, background=background) for true_map in maps)
    classes = nearest_class(ground.image[pictures], ground.prototypes(ground.classes))
    if name == CHANCE:
        classes = np.random.default_rng(seed).integers(len(ground.classes), size=len(pictures))
    return (
        np.full(truth.sizes[picture], of_picture + 1) for picture, of_picture in zip(pictures, classes, strict=True)
    )


def _sampled(maps: Iterable[Integers], step: int) -> Iterable[Integers]:
    return (of_one[step // 2 :: step, step // 2 :: step] for of_one in maps)


def in_cells(truth: Integers, *, background: bool) -> Integers:
    """A map (h, w) in which each cell of a grid has the class of most of its pixels, or with `background` that."""
    lines, columns = (np.arange(side) * _CELLS // side for side in truth.shape)
    cells, n = lines[:, None] * _CELLS + columns, int(truth.max()) + 1
    counts = np.bincount((cells * n + truth).ravel(), minlength=_CELLS**2 * n).reshape(-1, n)
    counts[:, 0] *= background
    return np.asarray(counts.argmax(axis=1)[cells])


def answer_of(regions: GroundRegions, name: str) -> MethodAnswer:
    """The answer of a name. Raises NotMeasurableError where there is none."""
    if name not in regions.answers:
        raise NotMeasurableError(f"no regions by `{name}` were computed for this ground")
    return regions.answers[name]()
