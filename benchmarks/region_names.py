"""Methods that name true regions of a ground, R@1 and R@5 of 41 classes; and the kinds on a picture by its parts.

Pictures of two or more objects, the first by hash: 700 of `fit` teach heads, 350 of `val` choose weights, windows and
how cosines are pooled, 700 of `test` are judged once. Intervals (95 %) are over resampled groups of codes, differences
are paired.

Run: python -m benchmarks.region_names GROUND [--refine ground] [--limit PICTURES]
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.region_ground import Part, compared, open_ground, read_part
from evenly.adapters.effects.regions import baseline_table
from evenly.adapters.evaluation.regions.ranking import answer_ranks, attribute_measure, recall_measure
from evenly.adapters.evaluation.regions.weighted import ratio_measure
from evenly.features.dense.crops import CropRule, crop_rows
from evenly.features.dense.method import Vocabulary
from evenly.features.dense.methods.box_prompts import BoxPrompts
from evenly.features.dense.methods.descriptions import REGION_WEIGHTS, DescribedParts, windows
from evenly.features.dense.methods.masked_crops import MaskedCrops
from evenly.features.dense.naming import region_means
from evenly.features.dense.regions import Regions, decoded_mask
from evenly.features.dense.rows import unit_length
from evenly.features.dense.towers import dense_encoder
from evenly.features.encoder import Encoder
from evenly.tasks.encoders import open_encoder

PICTURES = {"fit": 700, "val": 350, "test": 700}
BUSY = ("on bricks", "on grass", "on gravel")
RIVALS = (
    ("cells", "global row"),
    ("plain crop", "global row"),
    ("masked crop", "plain crop"),
    ("masked crop and map", "masked crop"),
    ("box_prompts", "cells"),
    ("box_prompts", "masked crop"),
)
Within = Literal["windows", "boxes"]


def ranks_by_method(parts: Mapping[str, Part], things: Vocabulary, encoder: Encoder) -> dict[str, np.ndarray]:
    """The rank (m,) of each true region's class among all."""
    fit, val, test = parts["fit"], parts["val"], parts["test"]
    texts, means = things.prototypes, region_means(test.dense, test.regions, test.dense.cells)
    crops = {masked: crop_rows(encoder, test.files, test.regions, CropRule(masked=masked)) for masked in (False, True)}
    of_val = crop_rows(encoder, val.files, val.regions, CropRule())
    method = MaskedCrops().fit(val.dense, val.regions, things, crops=of_val)
    learned = BoxPrompts().fit(fit.dense, fit.regions, things)
    print(f"weight of masked crops {method.weight}; box_prompts learned heads: {bool(learned.learned)}", flush=True)
    rows, refined_texts = learned.refined(means, things)
    scores = {
        "global row": test.dense.image[test.regions.picture] @ texts.T,
        "cells": unit_length(means) @ texts.T,
        "plain crop": crops[False] @ texts.T,
        "masked crop": crops[True] @ texts.T,
        "masked crop and map": method.ensemble(*method.parts(test.dense, things, test.regions, crops[True])),
        "box_prompts": rows @ refined_texts.T,
    }
    belongs = test.regions.labels[:, None] == np.array(things.names, object)
    return {name: answer_ranks(of_method, belongs) for name, of_method in scores.items()}


def judge_names(test: Part, ranks: Mapping[str, np.ndarray]) -> None:
    print(f"{len(test.dense)} test pictures, {len(test.regions)} regions, {len(np.unique(test.codes))} codes")
    for name, of_method in ranks.items():
        values = [baseline_table({name: recall_measure(of_method, k)}, test.codes, seed=1)[0] for k in (1, 5)]
        texts = [f"{value['value']:.4f} [{value['low']:.4f}, {value['high']:.4f}]" for value in values]
        print(f"{name:20} R@1 {texts[0]}  R@5 {texts[1]}", flush=True)
    for (name, rival), k in product(RIVALS, (1, 5)):
        method, other = (recall_measure(ranks[arm], k) for arm in (name, rival))
        compared(f"{name} over {rival}, R@{k}", method, other, test.codes)
    busy = np.isin(test.backgrounds, BUSY)[test.regions.picture]
    sides = test.regions.boxes[:, 2:] - test.regions.boxes[:, :2]
    half = np.array([pixels_of(test, row) for row in range(len(busy))]) < sides.prod(axis=1) / 2
    for rows, which in ((busy, "on busy textures"), (half, "whose mask is less than half of its box")):
        method, other = (recall_measure(ranks[arm][rows]) for arm in ("masked crop", "plain crop"))
        compared(f"masked crop over plain crop, R@1, {rows.sum()} regions {which}", method, other, test.codes[rows])


def pixels_of(part: Part, row: int) -> int:
    width, height = part.dense.sizes[part.regions.picture[row]].tolist()
    return int(decoded_mask(part.regions.masks[row], (width, height)).sum())


def precisions(scores: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The average precision (n,) of what each picture shows (n, c) by its scores (n, c)."""
    return attribute_measure(scores.T, shown.T)(np.ones((1, scores.shape[1])))[0]


def kinds_shown(part: Part, names: Sequence[str]) -> np.ndarray:
    shown = np.zeros((len(part.dense), len(names)), np.bool_)
    shown[part.regions.picture, [names.index(label) for label in part.regions.labels]] = True
    return shown


def judge_kinds(title: str, val: Part, test: Part, things: Vocabulary, within: Within) -> None:
    """The method whose average precision on val is the highest, over the rows of pictures alone."""

    def regions(method: DescribedParts, part: Part) -> Regions:
        return part.regions if within == "boxes" else windows(part.dense, method.window)

    pools: tuple[Literal["max", "mean"], ...] = ("max", "mean")
    shown, highest, best = kinds_shown(val, things.names), -1.0, DescribedParts()
    for window, over_texts, over_regions in product((0.3, 0.4, 0.6) if within == "windows" else (0.4,), pools, pools):
        method = DescribedParts(window=window, over_texts=over_texts, over_regions=over_regions, within=within)
        by_picture, by_region, _ = method.parts(val.dense, things, regions(method, val))
        for weight in REGION_WEIGHTS:
            tried = replace(method, weight=weight)
            value = precisions(tried.joined(by_picture, by_region), shown).mean()
            best, highest = (tried, value) if value > highest else (best, highest)
    print(f"descriptions, {title}: on val {highest:.4f} by {best}", flush=True)
    by_picture, by_region, _ = best.parts(test.dense, things, regions(best, test))
    shown = kinds_shown(test, things.names)
    method_values, values = precisions(best.joined(by_picture, by_region), shown), precisions(by_picture, shown)
    for rows, which in ((shown.any(axis=1), "all"), (shown.sum(axis=1) > 1, "of two or more kinds")):
        arms = (ratio_measure(of_arm[rows], np.ones(rows.sum())) for of_arm in (method_values, values))
        compared(f"  average precision, {rows.sum()} pictures ({which})", *arms, test.groups[rows])


def vocabulary_of(encoder: Encoder, texts: Mapping[str, Sequence[str]]) -> Vocabulary:
    labels, listed = zip(*((name, text) for name, of_name in texts.items() for text in of_name), strict=True)
    return Vocabulary(texts=listed, labels=labels, rows=unit_length(encoder.encode_texts(listed)))


def synonyms(ground: Path) -> dict[str, list[str]]:
    words = dict[str, list[str]]()
    with (ground / "synonyms.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            words.setdefault(row["class"], []).append(f"a {row['word']}")
    return words


def main() -> None:
    ground, run, names, limit = open_ground(__doc__ or "")
    encoder = open_encoder(run)
    texts = {name: [name, f"a {name}"] for name in names}
    further = synonyms(ground)
    things = vocabulary_of(encoder, texts)
    described = vocabulary_of(encoder, {name: [*of_name, *further.get(name, [])] for name, of_name in texts.items()})
    encode = dense_encoder(encoder, "embedded").encode_dense
    most = {name: min(count, count if limit is None else limit) for name, count in PICTURES.items()}
    parts = {name: read_part(ground / name, count, encode) for name, count in most.items()}
    judge_names(parts["test"], ranks_by_method(parts, things, encoder))
    judge = partial(judge_kinds, val=parts["val"], test=parts["test"])
    judge("names in windows", things=things, within="windows")
    judge("names and synonyms in windows", things=described, within="windows")
    judge("names and synonyms in true boxes", things=described, within="boxes")


if __name__ == "__main__":
    main()
