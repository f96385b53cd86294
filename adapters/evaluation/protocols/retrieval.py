"""Retrieval by an encoder: pictures by captions, captions by pictures, pictures by pictures; a row per direction."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures.bootstrap import Interval
from evenly.adapters.evaluation.measures.retrieval import (
    RetrievalMeasures,
    judge_retrieval,
    modality_gap,
    paired,
    same_name,
)
from evenly.adapters.features import Floats

Strings = npt.NDArray[np.str_]
CHANCE = "random text to picture"


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalRows:
    """Pairs of a picture and a text (n): unit rows (n, d) of both, and what says which of them belong together.

    captions: the texts. pictures: a name for each different picture. labels: "" where there is none. groups: a name for
    pairs that never part, such as duplicates.
    """

    image: Floats
    text: Floats
    captions: Strings
    pictures: Strings
    labels: Strings
    groups: Strings


@dataclass(frozen=True, kw_only=True)
class PairMeasures:
    """Results for an encoder's rows of pairs: a row per direction, and two numbers on all pairs.

    directions: name, queries, unanswerable, gallery, and measures with `_low` and `_high` (95 %), None for what is not
    defined. matched_cosine: the mean of pairs. modality_gap: the distance between the means of pictures and texts.
    """

    directions: list[dict[str, Any]]
    matched_cosine: float
    modality_gap: float


def judge_pairs(pairs: RetrievalRows, *, seed: int) -> PairMeasures:
    """Captions to pictures, pictures to captions, pictures to those of their label and group where two have one.

    Captions that several pictures have, and pictures that several captions have, count once, and belong to all of
    these. The direction CHANCE is what random vectors in place of captions find. Raises SplitError for fewer than two.
    """
    if len(pairs.image) < 2:
        raise SplitError(
            f"`pairs` must be at least 2, each of a picture and a caption; got {len(pairs.image)}. Take more."
        )
    first_text, text_of = distinct_names(pairs.captions)
    first_picture, picture_of = distinct_names(pairs.pictures)
    gallery, texts = pairs.image[first_picture], pairs.text[first_text]
    of_texts, of_pictures = pairs.groups[first_text], pairs.groups[first_picture]
    pictures_of_texts = paired(text_of, picture_of, len(gallery))
    texts_of_pictures = paired(picture_of, text_of, len(texts))
    measured = {
        "text to picture": judge_retrieval(texts, gallery, pictures_of_texts, seed=seed, groups=of_texts),
        "picture to text": judge_retrieval(gallery, texts, texts_of_pictures, seed=seed, groups=of_pictures),
    }
    for name, names in (("label", pairs.labels[first_picture]), ("group", of_pictures)):
        is_named = names != ""
        if len(np.unique(names[is_named])) < is_named.sum():
            rows = gallery[is_named]
            measured[f"picture to picture of its {name}"] = judge_retrieval(
                rows, rows, same_name(names[is_named]), seed=seed, groups=of_pictures[is_named]
            )
    random = np.random.default_rng(seed).normal(size=texts.shape).astype(np.float32)
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    measured[CHANCE] = judge_retrieval(random, gallery, pictures_of_texts, seed=seed, groups=of_texts)
    return PairMeasures(
        directions=[{"direction": name, **_row(measures)} for name, measures in measured.items()],
        matched_cosine=round(float((pairs.image * pairs.text).sum(axis=1).mean()), 4),
        modality_gap=round(modality_gap(gallery, texts), 4),
    )


def distinct_names(names: Strings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each different name stands first, and which of these each name is."""
    _, first, numbers = np.unique(names, return_index=True, return_inverse=True)
    return first, numbers


def _row(measures: RetrievalMeasures) -> dict[str, Any]:
    intervals = {f"r_at_{top}": interval for top, interval in measures.recall.items()}
    intervals |= {"mean_average_precision": measures.mean_average_precision, "auc": measures.auc}
    row: dict[str, Any] = {name: getattr(measures, name) for name in ("queries", "unanswerable", "gallery")}
    row["median_rank"] = _number(measures.median_rank)
    for name, interval in intervals.items():
        row |= _flat(name, interval)
    return row


def _flat(name: str, interval: Interval) -> dict[str, float | None]:
    names = (name, f"{name}_low", f"{name}_high")
    return {key: _number(value) for key, value in zip(names, interval, strict=True)}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
