"""Random regions of a few pictures. Not a test."""

from dataclasses import dataclass, replace

import numpy as np
from pycocotools import mask as coco

from evenly.features.dense.regions import decoded_mask

SIZE = (40, 50)
NAMES = ("bird", "car", "tree")


@dataclass(frozen=True)
class Rows:
    picture: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def chosen(self, rows):
        return replace(self, **{name: values[rows] for name, values in vars(self).items()})


def rle(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def decoded(counts, _picture=0):
    return decoded_mask(counts, SIZE[::-1]) if counts else np.zeros(SIZE, bool)


def boxes_in(n, generator):
    low = generator.uniform(0, 30, (n, 2))
    return np.concatenate([low, low + generator.uniform(2, 20, (n, 2))], axis=1)


def filled(box):
    mask = np.zeros(SIZE, bool)
    x0, y0, x1, y1 = np.rint(box).astype(int)
    mask[y0:y1, x0:x1] = True
    return mask


def regions(n_pictures=12, per_picture=5, seed=0):
    generator = np.random.default_rng(seed)
    n = n_pictures * per_picture
    boxes = boxes_in(n, generator)
    return Rows(
        picture=np.repeat(np.arange(n_pictures), per_picture),
        boxes=boxes,
        masks=np.array([rle(filled(box)) for box in boxes]),
        labels=generator.choice(NAMES, n),
        scores=generator.permutation(n) / n,
    )


def shaken(truth, seed=1, spread=2.0):
    """Regions near those of the truth, some with another label, and some more."""
    generator = np.random.default_rng(seed)
    n = len(truth.picture)
    boxes = np.concatenate([truth.boxes + generator.normal(0, spread, (n, 4)), boxes_in(n, generator)])
    boxes = np.clip(np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2] + 1)], axis=1), 0, 40)
    labels = np.where(generator.random(n) < 0.2, generator.choice(NAMES, n), truth.labels)
    return Rows(
        picture=np.tile(truth.picture, 2),
        boxes=boxes,
        masks=np.array([rle(filled(box)) for box in boxes]),
        labels=np.concatenate([labels, generator.choice(NAMES, n)]),
        scores=generator.permutation(2 * n) / n,
    )


def class_values(measure, n):
    """The measure of each class over the n rows themselves."""
    return measure(np.ones((1, n)))[0]
