"""How well the encoder of a build finds the pictures of captions, captions of pictures, and pictures of a label."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from evenly.adapters.evaluation.measures.bootstrap import Interval
from evenly.adapters.evaluation.measures.retrieval import (
    RetrievalMeasures,
    judge_retrieval,
    modality_gap,
    paired,
    same_name,
)
from evenly.storage.errors import InputError
from evenly.tasks.labelled_rows import paired_features
from evenly.tasks.run import Run


def measure_retrieval(run: Run, manifest: Mapping[str, Any], *, pairs: int) -> dict[str, Any]:
    """Measures of the kept pairs of a build, at most `pairs` of them, those with the smallest uids.

    directions: one row each for captions to pictures, pictures to captions, and pictures to those of their label and
    of their group where two have one. Captions that several pictures have, and pictures that several captions have,
    count once, and belong to all of these. matched_cosine: the mean of pairs; modality_gap: the distance of the means.
    """
    if pairs < 2:
        raise InputError(f"`pairs` must be at least 2; got {pairs}. Take some thousand.")
    features = paired_features(run, manifest)
    total = len(features["ids"])
    drawn = {name: values[np.argsort(features["ids"])[:pairs]] for name, values in features.items()}
    pictures, texts = drawn["image_features"], drawn["caption_features"]
    if len(pictures) < 2:
        raise InputError(f"`build` must keep at least 2 pairs with pictures; got {total}. Choose another.")
    _, first_text, text_of = np.unique(drawn["captions"], return_index=True, return_inverse=True)
    _, first_picture, picture_of = np.unique(pictures, axis=0, return_index=True, return_inverse=True)
    text_of, picture_of = text_of.ravel(), picture_of.ravel()
    gallery, captions, groups = pictures[first_picture], texts[first_text], drawn["groups"]
    seed = int(manifest["seed"])
    measured = {
        "text to picture": judge_retrieval(
            captions, gallery, paired(text_of, picture_of, len(gallery)), seed=seed, groups=groups[first_text]
        ),
        "picture to text": judge_retrieval(
            gallery, captions, paired(picture_of, text_of, len(captions)), seed=seed, groups=groups[first_picture]
        ),
    }
    for name, column in (("label", "labels"), ("group", "groups")):
        names = drawn[column][first_picture]
        known = names != ""
        if len(np.unique(names[known])) < known.sum():
            measured[f"picture to picture of its {name}"] = judge_retrieval(
                gallery[known], gallery[known], same_name(names[known]), seed=seed, groups=groups[first_picture][known]
            )
    return {
        "build": manifest["build"],
        "pairs": len(pictures),
        "of": total,
        "directions": [{"direction": name, **_row(measures)} for name, measures in measured.items()],
        "matched_cosine": round(float((pictures * texts).sum(axis=1).mean()), 4),
        "modality_gap": round(modality_gap(gallery, captions), 4),
    }


def _row(measures: RetrievalMeasures) -> dict[str, Any]:
    """Numbers and [estimate, low, high]; None for what is not defined."""
    recall = {f"r_at_{top}": _figures(interval) for top, interval in measures.recall.items()}
    rest = {name: value for name, value in asdict(measures).items() if name != "recall"}
    return {**recall, **{name: _figures(value) for name, value in rest.items()}}


def _figures(value: float | Interval | list[float]) -> float | int | list[float | None] | None:
    if isinstance(value, int):
        return value
    if isinstance(value, tuple | list):
        return [None if math.isnan(number) else round(number, 4) for number in value]
    return None if math.isnan(value) else round(value, 4)
