"""What a Gaussian classifier with one shared covariance needs to know of labelled rows, and its closed form."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from adapters.errors import ParameterError
from adapters.features_record import Features, Floats, Integers

PrecisionScale = Literal["rows", "published"]
Prior = Literal["uniform", "train"]
Booleans = npt.NDArray[np.bool_]
NO_SCATTER = 1e-12
"""Variance within classes, relative to the rows' second moment, below which it is rounding and not scatter."""
_BLOCK_ROWS = 8192


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassStatistics:
    """Of n rows (n, d): `counts` (c,) rows per class, `means` (c, d), zero where there is none, and `scatter` (d, d).

    The scatter is the sum over the rows of the outer product of a row's distance from the mean of its class.
    Means and scatter are float64.
    """

    counts: Integers
    means: Floats
    scatter: Floats

    @classmethod
    def of(cls, rows: Floats, labels: Integers, *, n_classes: int) -> Self:
        """The statistics of `rows` (n, d), which need not be of unit length, with `labels` (n,)."""
        counts = np.bincount(labels, minlength=n_classes)
        means = class_means(rows, labels, counts)
        scatter = np.zeros((rows.shape[1], rows.shape[1]))
        with _one_thread():
            for start in range(0, len(rows), _BLOCK_ROWS):  # float64 copies of a block, not of ten views of all rows
                block = slice(start, start + _BLOCK_ROWS)
                residuals = rows[block] - means[labels[block]]
                scatter += residuals.T @ residuals
        return cls(counts=counts, means=means, scatter=scatter)

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.counts.sum())

    def joined(self, other: Self) -> Self:
        """The statistics of the rows of both; `other` may know more classes, at the end.

        Scatter by the pairwise update of Chan, Golub and LeVeque (1979), which loses no digits to cancellation.
        """
        more = len(other.counts) - len(self.counts)
        first, means = np.pad(self.counts, (0, more)), np.pad(self.means, ((0, more), (0, 0)))
        counts = first + other.counts
        share = other.counts / np.maximum(counts, 1)
        apart = other.means - means
        between = (first * share)[:, None] * apart
        return type(self)(
            counts=counts,
            means=means + share[:, None] * apart,
            scatter=self.scatter + other.scatter + _symmetric(between.T @ apart),
        )

    def no_scatter(self) -> str:
        """Why there is no covariance within the classes to estimate, in words; "" where there is."""
        if self.n <= len(self.counts):
            return f"{self.n} rows are not more than {len(self.counts)} classes"
        spread = np.trace(self.scatter)
        if spread <= NO_SCATTER * (spread + self.counts @ np.einsum("cd,cd->c", self.means, self.means)):
            return "the rows of each class are all equal"
        return ""

    def log_prior(self, prior: Prior) -> Floats:
        """Logarithm of the probability of each class (c,): 1/c, or its share of the rows, none below one row."""
        weights = np.maximum(self.counts, 1) if prior == "train" else np.ones(len(self.counts))
        return np.asarray(np.log(weights / weights.sum()))


def all_views(features: Features, labels: Integers) -> tuple[Floats, Integers]:
    """The rows to fit on and their labels: every view is a row where views are given, else the images are."""
    views = features.views
    if views is None:
        return features.image, labels
    return views.reshape(-1, views.shape[2]), np.tile(labels, len(views))


def class_means(rows: Floats, labels: Integers, counts: Integers) -> Floats:
    """The mean of the rows of each class (c, d), float64; zero where `counts` (c,), the rows per class, is."""
    means = np.zeros((len(counts), rows.shape[1]))
    order = np.argsort(labels, kind="stable")
    stops = np.cumsum(counts)
    for place in np.flatnonzero(counts):
        own = order[stops[place] - counts[place] : stops[place]]
        means[place] = rows[own].mean(axis=0, dtype=np.float64)
    return means


def closed_form(
    statistics: ClassStatistics, *, precision_scale: PrecisionScale = "rows", prior: Prior = "uniform"
) -> tuple[Floats, Floats, str]:
    """W (c, d), b (c,) and the fallback in words ("" where none) of the shared-covariance Gaussian classifier.

    A class without rows gets the mean W and b of the others, its own prior apart: no evidence for or against it.
    """
    d, n = statistics.means.shape[1], statistics.n
    if n == 0:
        return np.zeros(statistics.means.shape), np.zeros(len(statistics.counts)), "zero-shot: no support rows"
    reason = statistics.no_scatter()
    scale = d / n if precision_scale == "published" and not reason else 1.0
    precision = identity_precision(statistics) if reason else scale * n / d * shrunk_precision(statistics.scatter, n)
    weight, bias = linear_form(statistics.means, precision, present=statistics.counts > 0)
    log_prior = statistics.log_prior(prior)
    if prior == "train":  # the published scale shrinks the evidence by d / n: unscaled, this prior would drown it
        log_prior = scale * log_prior
    return weight, bias + log_prior, f"identity covariance: {reason}" if reason else ""


def linear_form(means: Floats, precision: Floats, *, present: Booleans) -> tuple[Floats, Floats]:
    """Mu P (c, d) and -mu P mu / 2 (c,); the mean of both over the `present` classes for the others."""
    weight = means @ precision
    bias = -0.5 * np.einsum("cd,cd->c", weight, means)
    weight[~present], bias[~present] = weight[present].mean(axis=0), bias[present].mean()
    return weight, bias


def shrunk_precision(scatter: Floats, n: int) -> Floats:
    """P = d * inv(Q + tr(Q)/(n-1) I) (d, d): symmetric, positive definite; n rows above 1, Q not zero.

    Kubokawa and Srivastava's empirical-Bayes ridge on the covariance Q/(n-1). From the inverse of the Cholesky factor,
    so that the result is symmetric to the bit.
    """
    d = len(scatter)
    with _one_thread():
        factor = np.linalg.cholesky(scatter + np.trace(scatter) / (n - 1) * np.eye(d))
        inverse = np.linalg.inv(factor)
        return d * (inverse.T @ inverse)


def identity_precision(statistics: ClassStatistics) -> Floats:
    """The precision (d, d) of rows spread evenly on a sphere as wide as the class means lie out: d I for unit rows."""
    d = statistics.means.shape[1]
    size = statistics.counts @ np.einsum("cd,cd->c", statistics.means, statistics.means) + np.trace(statistics.scatter)
    return np.asarray(d * statistics.n / (size or 1.0) * np.eye(d))


def check_choice(name: str, value: object, choices: object) -> None:
    """Raise ParameterError unless `value` is one of the words of the Literal `choices`."""
    if value not in get_args(choices):
        known = ", ".join(get_args(choices))
        raise ParameterError(f"`{name}` must be one of {known}; got {value!r}. Choose one of these.")


def _one_thread() -> AbstractContextManager[None]:
    """Products of a small square are one wait for the other thread after the next: on busy cores it costs 5-fold."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[None] = threadpool_limits(limits=1, user_api="blas")
    return limits


def _symmetric(square: Floats) -> Floats:
    return np.asarray((square + square.T) / 2)
