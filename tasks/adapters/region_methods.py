"""Answers of region methods on a ground, by name: taught on `fit`, chosen on `val`, asked about pictures of `test`.

No method gets a label of a test picture: regions are boxes and masks alone there. A further method is a function, and
an entry of `_ANSWERED` with the names of its answers, which claims in adapters/effects/region_claims.py judge.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import Literal

import numpy as np

from evenly.adapters.effects import NotMeasurableError
from evenly.adapters.effects import region_claims as claims
from evenly.adapters.effects.ground import MethodAnswer
from evenly.adapters.effects.regions import classes_shown, precisions, thing_overlaps
from evenly.adapters.evaluation.regions.ranking import region_counts
from evenly.adapters.evaluation.regions.weighted import area_measure
from evenly.adapters.features import Floats, Integers
from evenly.features.dense.method import GivenRegions, Vocabulary
from evenly.features.dense.methods.attributes import RegionAttributes
from evenly.features.dense.methods.box_prompts import BoxPrompts
from evenly.features.dense.methods.correlations import Correlations
from evenly.features.dense.methods.cosegment import Cosegment
from evenly.features.dense.methods.counts import ThingCounts
from evenly.features.dense.methods.defects import Defects
from evenly.features.dense.methods.descriptions import REGION_WEIGHTS, Cosines, DescribedParts, windows
from evenly.features.dense.methods.masked_crops import MaskedCrops
from evenly.features.dense.methods.relations import Relations
from evenly.features.dense.methods.score_maps import ScoreMaps
from evenly.features.dense.naming import region_means
from evenly.features.dense.regions import Regions
from evenly.features.dense.rows import Dense
from evenly.features.errors import UnknownModelError
from evenly.features.unit_rows import Single
from evenly.tasks.adapters.region_boxes import boxes_beside_background, proposals
from evenly.tasks.adapters.region_parts import CrowdedPart, CrowdedParts

GAMMAS, DELTAS, RETRIEVED = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8), (0.5, 0.8, 0.9, 0.99, 1.0), (5, 10, 20)
SHARES = (0.3, 0.4, 0.6)
"""Windows, of so much of the grid's sides."""
BLOCK_SIDES = (4, 7)


def plain_maps(part: CrowdedPart, texts: Single) -> Single:
    """The probability (n, c, h, w) of each text in each cell."""
    return ScoreMaps().probabilities(ScoreMaps().cosines(part.dense, texts))


def score_maps(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Maps of names, and of names that lean towards the picture."""
    test, texts = parts.test, parts.texts
    leaning = ScoreMaps().fit(parts.fit.dense, parts.fit.regions, parts.things)
    maps = leaning.probabilities(leaning.cosines(test.dense, texts))
    return {
        claims.PLAIN_MAPS: MethodAnswer(values=test.layers(plain_maps(test, texts))),
        claims.LEANING: MethodAnswer(values=test.layers(maps), chosen={"gamma": leaning.gamma}),
    }


def correlations(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Maps of pooled cells, by the second backbone and by convolutions that learned of it; and background."""
    val, test, texts = parts.val, parts.test, parts.texts
    gamma = max(GAMMAS, key=lambda gamma: val.miou(Correlations(gamma=gamma).maps(val.paired, texts)))
    pooled, second = Correlations(gamma=gamma), test.paired.second
    learned = replace(pooled, dimension=64, epochs=6).fit(parts.fit.paired, parts.fit.regions, parts.things)
    of_val, of_test, plain = learned.maps(val.dense, texts), learned.maps(test.dense, texts), plain_maps(test, texts)

    def background(part: CrowdedPart, maps: Single, delta: float) -> Single | None:
        return replace(learned, delta=delta).with_arrays(learned.arrays()).background(part.dense, maps)

    delta = max(DELTAS, key=lambda delta: val.miou(of_val, background(val, of_val, delta)))
    misplaced = replace(test.paired, second=None if second is None else np.roll(second, 1, axis=0))
    layers = {
        claims.POOLED: test.layers(pooled.maps(test.paired, texts)),
        claims.POOLED_BY_ANOTHER: test.layers(pooled.maps(misplaced, texts)),
        claims.LEARNED: test.layers(of_test),
        claims.LEARNED_RULE: test.layers(of_test, background(test, of_test, delta)),
        claims.PLAIN_RULE: test.layers(plain, background(test, plain, delta)),
    }
    return {
        name: MethodAnswer(values=values, chosen={"gamma": gamma, "delta": delta}) for name, values in layers.items()
    }


def cosegment(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Maps of names, and of what pictures have in common that are retrieved by them, or that truly show the thing."""
    from scipy.special import expit

    fit, val, test, texts = parts.fit, parts.val, parts.test, parts.texts
    nothing, pool = Regions.from_rows([]), fit.paired
    methods = [Cosegment(retrieved=count).fit(pool, nothing, parts.things) for count in RETRIEVED]
    method = max(methods, key=lambda method: val.miou(method.maps(val.paired, texts)))
    shown = classes_shown(fit.truth, fit.classes, fit.places)
    prototypes = [
        method.fit(
            pool[np.flatnonzero(of_class if of_class.any() else ~of_class)],
            nothing,
            Vocabulary(texts=[name], labels=[name], rows=text[None]),
        )
        for of_class, name, text in zip(shown.T, fit.classes, texts, strict=True)
    ]
    truly = method.with_arrays({"prototypes": np.concatenate([fitted.arrays()["prototypes"] for fitted in prototypes])})
    maps: dict[str, Callable[[CrowdedPart], Single]] = {
        claims.NAME_MAPS: lambda part: expit(method.sharpness * ScoreMaps().cosines(part.dense, texts)),
        claims.SHARED: lambda part: method.maps(part.paired, texts),
        claims.SHARED_TRULY: lambda part: truly.maps(part.paired, texts),
    }

    def answer(maps_of: Callable[[CrowdedPart], Single]) -> MethodAnswer:
        of_val = maps_of(val)
        tried = np.quantile(of_val, np.linspace(0.02, 0.98, 33))
        overlaps, _ = thing_overlaps(val.layers(of_val)(), val.maps, tried)
        chosen = {"threshold": float(tried[overlaps.mean(axis=0).argmax()]), "retrieved": method.retrieved}
        return MethodAnswer(values=test.layers(maps_of(test)), chosen=chosen)

    return {name: answer(maps_of) for name, maps_of in maps.items()}


def masked_crops(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Names by crops, whole and masked, and by the latter with the score map."""
    val, test, things = parts.val, parts.test, parts.things
    plain, masked = (test.crops(masked=is_masked) for is_masked in (False, True))
    method = MaskedCrops().fit(val.dense, val.regions, things, crops=val.crops(masked=True))
    ensemble = method.ensemble(*method.parts(test.dense, things, test.regions, masked))
    return {
        claims.PLAIN_CROP: MethodAnswer(values=plain @ parts.texts.T),
        claims.MASKED_CROP: MethodAnswer(values=masked @ parts.texts.T),
        claims.CROP_AND_MAP: MethodAnswer(values=ensemble, chosen={"weight": method.weight}),
    }


def box_prompts(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Names by the mean of cells, by heads on it, and by heads that learnt names of other regions."""
    fit, test, things = parts.fit, parts.test, parts.things
    dealt = replace(fit.regions, labels=np.random.default_rng(0).permutation(fit.regions.labels))
    means = region_means(test.dense, test.regions, test.dense.cells)
    methods = {
        claims.CELL_MEAN: BoxPrompts(),
        claims.HEADS: BoxPrompts().fit(fit.dense, fit.regions, things),
        claims.OTHER_HEADS: BoxPrompts().fit(fit.dense, dealt, things),
    }
    rows = {name: method.refined(means, things) for name, method in methods.items()}
    return {name: MethodAnswer(values=of_regions @ texts.T) for name, (of_regions, texts) in rows.items()}


def attributes(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """The probability of each colour by rows of regions, by their crops and pictures, and by heads on the first."""
    fit, test, things = parts.fit, parts.test, parts.things
    plain = RegionAttributes(attributes={"colour": fit.truth.colour_names})
    dealt = replace(fit.regions, attributes=np.random.default_rng(0).permutation(fit.regions.attributes))
    means = region_means(test.dense, test.regions, test.dense.cells)
    arms = {
        claims.DESCRIBED: (plain.fit(fit.dense, fit.regions, things), means),
        claims.DESCRIBED_OTHERS: (plain.fit(fit.dense, dealt, things), means),
        claims.DESCRIBED_CELLS: (plain, means),
        claims.DESCRIBED_CROP: (plain, test.crops(masked=False)),
        claims.DESCRIBED_PICTURE: (plain, test.dense.image[test.regions.picture]),
    }
    texts = plain.texts(things)
    return {
        name: MethodAnswer(values=method.probabilities(method.logits(rows, texts)))
        for name, (method, rows) in arms.items()
    }


def descriptions(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Classes on pictures by their best window or box."""
    words, image = parts.words, parts.test.dense.image
    return {
        claims.WORDS_PICTURE: MethodAnswer(values=image @ words.prototypes.T),
        claims.WINDOWS: _described(parts, parts.things, "windows"),
        claims.WORDS_WINDOWS: _described(parts, words, "windows"),
        claims.WORDS_BOXES: _described(parts, words, "boxes"),
    }


def _described(parts: CrowdedParts, words: Vocabulary, within: Literal["windows", "boxes"]) -> MethodAnswer:
    """By the method whose average precision on val is the highest."""
    val, test = parts.val, parts.test

    def scores(method: DescribedParts, part: CrowdedPart) -> tuple[Cosines, Cosines]:
        regions = part.regions if within == "boxes" else windows(part.dense, method.window)
        return method.parts(part.dense, words, regions)[:2]

    pools: tuple[Literal["max", "mean"], ...] = ("max", "mean")
    shown, best, highest = classes_shown(val.truth, val.classes, val.places), DescribedParts(), -1.0
    for window, over_texts, over_regions in product(SHARES if within == "windows" else SHARES[:1], pools, pools):
        method = DescribedParts(window=window, over_texts=over_texts, over_regions=over_regions, within=within)
        of_val = scores(method, val)
        for weight in REGION_WEIGHTS:
            tried = replace(method, weight=weight)
            value = precisions(tried.joined(*of_val), shown).mean()
            best, highest = (tried, value) if value > highest else (best, highest)
    chosen = {name: getattr(best, name) for name in ("window", "over_texts", "over_regions", "weight")}
    return MethodAnswer(values=best.joined(*scores(best, test)), chosen=chosen)


def relations(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Margins of captions over turned ones: by the equation, with the places of things, and on another picture."""
    test, things = parts.test, replace(parts.words, texts=[text.removeprefix("a ") for text in parts.words.texts])
    method = Relations().fit(parts.fit.dense, parts.fit.regions, things)
    plain, order = replace(method, geometry=0), np.arange(len(test.places))

    def margins(judge: Relations, order: Integers, places: Integers, *captions: list[str]) -> Floats:
        first, second = (dict(zip(*judge.orders(texts, things), strict=True)) for texts in captions)
        parsed, values = [place for place in first if place in second], np.zeros(len(places))
        right, turned = ([of_captions[place] for place in parsed] for of_captions in (first, second))
        fits, distances, _ = judge.margins(test.dense[order[places[parsed]]], right, turned, things)
        values[parsed] = fits + judge.geometry * distances
        return values

    return {
        claims.EQUATION: MethodAnswer(values=partial(margins, plain, order)),
        claims.WITH_PLACES: MethodAnswer(values=partial(margins, method, order), chosen={"geometry": method.geometry}),
        claims.WITH_OTHER_PLACES: MethodAnswer(values=partial(margins, method, np.roll(order, 1))),
    }


def counts(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Counts of classes that are on a picture, and of all objects: of blocks, and of the picture's row taught alike."""
    fit, test, things, encode = parts.fit, parts.test, parts.things, parts.things.encode
    all_objects = Vocabulary(texts=["object"], labels=["object"], rows=encode(["object"]), encode=encode)
    of_fit = _totals(fit, fit.regions, things)
    of_maps = _totals(test, ScoreMaps().score(test.dense, things, GivenRegions()).kept, things)
    return {
        **dict(zip((claims.BLOCKS, claims.ROW), _expected_counts(parts, things), strict=True)),
        **dict(zip((claims.ALL_BLOCKS, claims.ALL_ROW), _expected_counts(parts, all_objects), strict=True)),
        claims.MAP_REGIONS: MethodAnswer(values=of_maps),
        claims.MEAN_COUNT: MethodAnswer(values=np.full(of_maps.shape, of_fit[of_fit > 0].mean())),
        claims.ALL_MEAN: MethodAnswer(values=np.full((len(of_maps), 1), of_fit.sum(axis=1).mean())),
    }


def _expected_counts(parts: CrowdedParts, things: Vocabulary) -> tuple[MethodAnswer, MethodAnswer]:
    """Counts (n, c) by blocks of the size that is best on val, and by the picture's row; of one thing: all objects."""
    fit, val, test = parts.fit, parts.val, parts.test
    true = _totals(val, val.regions, things)

    def fitted(dense: Dense, block: int) -> ThingCounts:
        return ThingCounts(block=block, absent=0).fit(dense, _relabelled(fit.regions, things), things)

    def expected(method: ThingCounts, dense: Dense) -> Floats:
        return np.asarray(method.densities(dense, things)[0].sum(axis=(2, 3)))

    methods = [fitted(fit.dense, block) for block in BLOCK_SIDES]
    method = min(methods, key=lambda method: np.abs(expected(method, val.dense) - true)[true > 0].mean())
    of_row = expected(fitted(fit.dense.as_one_cell(), 1), test.dense.as_one_cell())
    of_blocks = MethodAnswer(values=expected(method, test.dense), chosen={"block": method.block})
    return of_blocks, MethodAnswer(values=of_row)


def _totals(part: CrowdedPart, regions: Regions, things: Vocabulary) -> Integers:
    labels = _relabelled(regions, things).labels
    return region_counts(regions.picture, labels, n_pictures=len(part.places), names=things.names)


def _relabelled(regions: Regions, things: Vocabulary) -> Regions:
    """The regions, by the only name of things where there is one."""
    names = things.names
    return replace(regions, labels=np.full(len(regions), names[0], object)) if len(names) == 1 else regions


def defects(parts: CrowdedParts) -> dict[str, MethodAnswer]:
    """Defects by texts alone, and by texts that learned them, with and without biases, or those of other pictures."""
    fit, val, test, things = parts.fit, parts.val, parts.test, parts.things
    dealt = np.random.default_rng(0).permutation(len(fit.dense))[fit.defects.picture]
    order = np.argsort(dealt, kind="stable")
    moved = replace(fit.defects[order], picture=dealt[order])
    methods = {
        claims.STATES: Defects(),
        claims.SAMPLED: Defects().fit(fit.dense, fit.defects, things),
        claims.UNSAMPLED: Defects(strength=0).fit(fit.dense, fit.defects, things),
        claims.SAMPLED_OTHERS: Defects().fit(fit.dense, moved, things),
    }
    maps = {name: method.maps(test.dense, things) for name, method in methods.items()}
    of_val = methods[claims.SAMPLED].maps(val.dense, things)
    damaged = np.isin(np.arange(len(val.dense)), val.defects.picture)

    def scores(weight: float, cells: Single, pictures: Single) -> Floats:
        return np.asarray((1 - weight) * cells.max(axis=(1, 2)) + weight * pictures)

    def area(weight: float) -> float:
        measure = area_measure([*scores(weight, *of_val)], [*damaged])
        return float(measure(np.ones((1, len(damaged))))[0, 0])

    weight = max((0.0, 0.5, 1.0), key=area)
    values = {
        name: (scores(weight, *of_method), test.layers(of_method[0][:, None])) for name, of_method in maps.items()
    }
    values[claims.STATES_PICTURE] = (scores(1.0, *maps[claims.STATES]), values[claims.STATES][1])
    return {name: MethodAnswer(values=of_method, chosen={"weight": weight}) for name, of_method in values.items()}


_ANSWERED: Mapping[Callable[[CrowdedParts], dict[str, MethodAnswer]], tuple[str, ...]] = {
    score_maps: (claims.PLAIN_MAPS, claims.LEANING),
    correlations: (
        claims.POOLED, claims.POOLED_BY_ANOTHER, claims.LEARNED, claims.LEARNED_RULE, claims.PLAIN_RULE,
    ),
    cosegment: (claims.NAME_MAPS, claims.SHARED, claims.SHARED_TRULY),
    masked_crops: (claims.PLAIN_CROP, claims.MASKED_CROP, claims.CROP_AND_MAP),
    box_prompts: (claims.CELL_MEAN, claims.HEADS, claims.OTHER_HEADS),
    attributes: (
        claims.DESCRIBED, claims.DESCRIBED_OTHERS, claims.DESCRIBED_CELLS, claims.DESCRIBED_CROP,
        claims.DESCRIBED_PICTURE,
    ),
    proposals: (claims.ALL_BOXES, claims.PROPOSED, claims.PROPOSED_TEXTS, claims.PROPOSED_UNSEEN),
    boxes_beside_background: (claims.MAP_BOXES, claims.SCENE_BOXES, claims.ROW_BOXES, claims.ROW_BOXES_WHOLE),
    descriptions: (claims.WORDS_PICTURE, claims.WINDOWS, claims.WORDS_WINDOWS, claims.WORDS_BOXES),
    defects: (claims.STATES, claims.STATES_PICTURE, claims.SAMPLED, claims.UNSAMPLED, claims.SAMPLED_OTHERS),
    relations: (claims.EQUATION, claims.WITH_PLACES, claims.WITH_OTHER_PLACES),
    counts: (
        claims.BLOCKS, claims.ROW, claims.MAP_REGIONS, claims.MEAN_COUNT, claims.ALL_BLOCKS, claims.ALL_ROW,
        claims.ALL_MEAN,
    ),
}  # fmt: skip
"""The names of what each method answers."""


def region_answers(parts: CrowdedParts) -> dict[str, Callable[[], MethodAnswer]]:
    """The answers by their names; each method is asked once, when one of its answers is wanted.

    NotMeasurableError where the encoder has no rows of cells.
    """
    by_method = {method: cache(partial(method, parts)) for method in _ANSWERED}
    return {name: partial(_answer, by_method[method], name) for method, listed in _ANSWERED.items() for name in listed}


def _answer(method: Callable[[], dict[str, MethodAnswer]], name: str) -> MethodAnswer:
    try:
        return method()[name]
    except UnknownModelError as error:
        raise NotMeasurableError(f"no rows of cells by this encoder: {error}") from error
