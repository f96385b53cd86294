"""Claims on regions: the names of things in pictures, and where they are, by codes that nothing was fitted on.

A method brings scores or regions of the ground by its name (`GroundRegions`), and one claim that names it here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.effects.claim import Claim, JudgedClaim, NotMeasurableError
from evenly.adapters.effects.effect import Arm, PairedArms, effect_of
from evenly.adapters.effects.ground import Ground, GroundRegions, nearest_class
from evenly.adapters.evaluation.measures.bootstrap import difference_columns
from evenly.adapters.evaluation.regions.overlaps import map_overlaps
from evenly.adapters.evaluation.regions.ranking import answer_ranks, recall_measure, region_counts
from evenly.adapters.evaluation.regions.weighted import Measure, class_mean, ratio_measure
from evenly.adapters.features import Floats, Integers

CHANCE, PICTURE = "chance", "the picture's row"
ONE_NAME, CELLS = "the most frequent name of each picture", "truth in 7 x 7 cells"
_CELLS = 7
Compare = Callable[[Ground, int], JudgedClaim]


def naming(**arms: str) -> Compare:
    """R@1 of each true region's class among all, on test pictures with a background, by the names of the arms' scores.

    Groups are the codes of regions.
    """

    def compare(ground: Ground, seed: int) -> JudgedClaim:
        regions = _regions(ground)
        rows = np.flatnonzero(np.isin(regions.truth.picture, _judged(ground)))
        belongs = regions.truth.kinds[rows, None] == np.array(ground.classes, object)
        measures = {
            arm: recall_measure(answer_ranks(_scores(ground, regions, name, seed)[rows], belongs))
            for arm, name in arms.items()
        }
        return JudgedClaim(comparison=measured_arms(measures, regions.truth.codes[rows]))

    return compare


def segmenting(*, background: bool = False, **arms: str) -> Compare:
    """MIoU of classes on test pictures with a background, by the names of the arms' regions.

    Groups are those of pictures. background: whether it is a class to be told from others, or not judged.
    """

    def compare(ground: Ground, seed: int) -> JudgedClaim:
        regions, pictures = _regions(ground), _judged(ground)
        things = replace(regions.truth, labels=regions.truth.kinds)
        measures = {}
        for arm, name in arms.items():
            maps = _maps(ground, regions, name, pictures, seed)
            truth = things.maps(things, ground.classes, pictures)
            overlaps = map_overlaps(maps, truth, n_classes=len(ground.classes), background=background)
            measures[arm] = ratio_measure(*overlaps)
        return JudgedClaim(comparison=measured_arms(measures, ground.column("group", pictures)))

    return compare


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


def _regions(ground: Ground) -> GroundRegions:
    if ground.regions is None:
        raise NotMeasurableError("no regions: of this ground no masks were read")
    return ground.regions()


def _judged(ground: Ground) -> Integers:
    return np.concatenate([ground.where("test"), ground.where("test", kind="pair")])


def _scores(ground: Ground, regions: GroundRegions, name: str, seed: int) -> Floats:
    """Scores (m, c) of true regions with the classes."""
    truth, classes = regions.truth, ground.classes
    if name == CHANCE:
        return np.random.default_rng(seed).random((len(truth.picture), len(classes)))
    if name == PICTURE:
        return np.asarray(ground.image[truth.picture] @ ground.prototypes(classes).T)
    if name == ONE_NAME:
        counts = region_counts(truth.picture, truth.kinds, n_pictures=len(truth.sizes), names=classes)
        return np.asarray(np.eye(len(classes))[counts.argmax(axis=1)][truth.picture])
    scores: Floats = _of_method(regions.scores, name)(classes)
    return scores


def _maps(ground: Ground, regions: GroundRegions, name: str, pictures: Integers, seed: int) -> Iterable[Integers]:
    """Maps (h, w) of pictures: 0, or a class's number from 1."""
    truth = regions.truth
    if name == CELLS:
        things = replace(truth, labels=truth.kinds)
        return (_in_cells(of_picture) for of_picture in truth.maps(things, ground.classes, pictures))
    if name in {CHANCE, PICTURE}:
        classes = nearest_class(ground.image[pictures], ground.prototypes(ground.classes))
        if name == CHANCE:
            classes = np.random.default_rng(seed).integers(len(ground.classes), size=len(pictures))
        return (
            np.full(truth.sizes[picture], of_picture + 1) for picture, of_picture in zip(pictures, classes, strict=True)
        )
    return truth.maps(_of_method(regions.outputs, name)(), ground.classes, pictures)


def _in_cells(truth: Integers) -> Integers:
    """A map (h, w) in which each cell of a grid has the class, or the background, of most of its pixels."""
    lines, columns = (np.arange(side) * _CELLS // side for side in truth.shape)
    cells, n = lines[:, None] * _CELLS + columns, int(truth.max()) + 1
    counts = np.bincount((cells * n + truth).ravel(), minlength=_CELLS**2 * n).reshape(-1, n)
    return np.asarray(counts.argmax(axis=1)[cells])


def _of_method(by_name: Mapping[str, Callable[..., Any]], name: str) -> Callable[..., Any]:
    if name not in by_name:
        raise NotMeasurableError(f"no regions by `{name}` were computed for this ground")
    return by_name[name]


REGION_CLAIMS = (
    Claim(
        number=44,
        system="CLOC's question",
        method=PICTURE,
        rival=CHANCE,
        measure="R@1 of the class of an object",
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
)
