"""Keys of a cache model: one per support image, and the sums of their answers per class."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from evenly.adapters.features import Features, Floats, Integers, unit_rows
from evenly.adapters.training import row_keys

CHUNK_ENTRIES = 2**22
"""Affinities held at a time: 32 MB of float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyColumns:
    """Keys in columns of equal length, one class each, so that a sum per class adds whole rows of memory.

    `keys` (s * v, d) float64 holds key i of column j at i * v + j, zeros where `filled` (s * v,) is false; `classes`
    (v,) is the class of each column, ascending. A class with many keys has several columns, one without keys none:
    there are at most three entries per key, however uneven the classes are. `n_classes` is c.
    """

    keys: Floats
    filled: npt.NDArray[np.bool_]
    classes: Integers
    n_classes: int

    @property
    def chunk_rows(self) -> int:
        """Rows whose affinities to all keys are held at a time."""
        return int(max(1, CHUNK_ENTRIES // max(1, len(self.keys))))

    def gaps(self, image: Floats) -> Floats:
        """Affinity minus 1 of each image (m, d) to each key: (m, s * v), in -2 to 0 where keys are of unit length."""
        affinities = image.astype(np.float64) @ self.keys.T
        affinities -= 1
        return np.asarray(affinities)

    def answers(self, gaps: Floats, beta: float) -> Floats:
        """exp(-`beta` (1 - affinity)) of each key (m, s * v); 0 where there is none."""
        answers = beta * gaps
        np.exp(answers, out=answers)
        if not self.filled.all():
            answers *= self.filled
        return np.asarray(answers)

    def class_sums(self, answers: Floats) -> Floats:
        """The sums per class (m, c) of `answers` (m, s * v); 0 for a class without keys."""
        columns = answers.reshape(len(answers), -1, max(1, len(self.classes))).sum(axis=1)
        if self._one_each:
            return np.asarray(columns)
        sums = np.zeros((len(answers), self.n_classes))
        if len(self.classes):
            present, first = np.unique(self.classes, return_index=True)
            sums[:, present] = np.add.reduceat(columns, first, axis=1)
        return sums

    @cached_property
    def _one_each(self) -> bool:
        """Whether every class has one column, so that columns are classes."""
        return np.array_equal(self.classes, np.arange(self.n_classes))

    def evidence(self, image: Floats, beta: float) -> Floats:
        """The cache's logits (m, c), float64: per class the sum of exp(-`beta` (1 - affinity)) over its keys."""
        sums = np.empty((len(image), self.n_classes))
        for start in range(0, len(image), self.chunk_rows):
            rows = slice(start, start + self.chunk_rows)
            sums[rows] = self.class_sums(self.answers(self.gaps(image[rows]), beta))
        return sums


def key_columns(keys: Floats, labels: Integers, *, n_classes: int) -> KeyColumns:
    """The keys (k, d) of the classes `labels` (k,), in any order, as columns."""
    counts = np.bincount(labels, minlength=n_classes)
    slots = -(-len(keys) // max(1, int(np.count_nonzero(counts))))
    columns = -(-counts // max(1, slots))
    first_column, first_key = np.cumsum(columns) - columns, np.cumsum(counts) - counts
    order = np.argsort(labels, kind="stable")
    ranks = np.arange(len(keys)) - first_key[labels[order]]
    places = ranks % max(1, slots) * columns.sum() + first_column[labels[order]] + ranks // max(1, slots)
    laid = np.zeros((slots * int(columns.sum()), keys.shape[1]))
    filled = np.zeros(len(laid), dtype=np.bool_)
    laid[places], filled[places] = keys[order], True
    return KeyColumns(keys=laid, filled=filled, classes=np.repeat(np.arange(n_classes), columns), n_classes=n_classes)


def mean_rows(features: Features) -> Floats:
    """One unit row per image (n, d), float32: the normalised mean over `views` where there are any, else the image."""
    if features.views is None or not len(features.views):
        return features.image
    return unit_rows(features.views.mean(axis=0, dtype=np.float64), name="mean over views")


def class_order(rows: Floats, labels: Integers) -> Integers:
    """The positions of `rows` (n, d) by class, then by the digest of the row: the same however they are ordered."""
    digests = row_keys(rows)
    return np.array(sorted(range(len(rows)), key=lambda index: (labels[index], digests[index])), dtype=np.int64)
