"""Statistics of labelled rows that a Gaussian classifier with one shared covariance needs, and its closed form."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np

from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Booleans, Features, Floats, Integers

PrecisionScale = Literal["rows", "published"]
Prior = Literal["uniform", "train"]

NO_SCATTER = 1e-12
"""Variance within classes, relative to the rows' second moment, below which it is rounding and not scatter."""
_BLOCK_ROWS = 8192


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics(ABC):
    """Of n rows (n, d): `counts` (c,) rows per class and `means` (c, d), float64, zero where there is none.

    Q is the scatter (d, d): the sum over the rows of the outer product of a row's distance from the mean of its class.
    """

    counts: Integers
    means: Floats

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.counts.sum())

    @property
    @abstractmethod
    def trace(self) -> float:
        """The trace of Q."""

    @abstractmethod
    def evidence(self) -> Floats:
        """Mu P (c, d) of the means, P = d * inv(Q + tr(Q)/(n-1) I); n is above 1, Q not zero.

        Kubokawa and Srivastava's empirical-Bayes ridge on the covariance Q/(n-1). Solved for the means: P itself would
        cost six times as much.
        """

    def no_scatter(self) -> str:
        """Why there is no covariance within the classes to estimate, in words; "" where there is."""
        if self.n <= len(self.counts):
            return f"{self.n} rows are not more than {len(self.counts)} classes"
        if self.trace <= NO_SCATTER * (self.trace + self.counts @ np.einsum("cd,cd->c", self.means, self.means)):
            return "the rows of each class are all equal"
        return ""

    def log_prior(self, prior: Prior) -> Floats:
        """Logarithm of the probability of each class (c,): 1/c, or its share of the rows, none below one row."""
        weights = np.maximum(self.counts, 1) if prior == "train" else np.ones(len(self.counts))
        return np.asarray(np.log(weights / weights.sum()))


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassStatistics(Statistics):
    """`Statistics` by their `scatter` Q (d, d), float64: no larger for more rows, so sessions can be joined."""

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
    def trace(self) -> float:
        """The trace of Q."""
        return float(np.trace(self.scatter))

    def evidence(self) -> Floats:
        """Mu P (c, d), by the Cholesky factor of Q and its ridge."""
        return precision_product(self.means, self.scatter, self.n)

    def joined(self, addition: Self) -> Self:
        """The statistics of the rows of both; `addition` may know more classes, at the end.

        Scatter by the pairwise update of Chan, Golub and LeVeque (1979), which loses no digits to cancellation.
        """
        n_new = len(addition.counts) - len(self.counts)
        first, means = np.pad(self.counts, (0, n_new)), np.pad(self.means, ((0, n_new), (0, 0)))
        counts = first + addition.counts
        share = addition.counts / np.maximum(counts, 1)
        shift = addition.means - means
        weighted_shift = np.sqrt(first * share)[:, None] * shift
        with _one_thread():
            scatter = weighted_shift.T @ weighted_shift  # numpy makes a product of this form symmetric to the bit
        scatter += self.scatter
        scatter += addition.scatter
        return type(self)(counts=counts, means=means + share[:, None] * shift, scatter=scatter)


@dataclass(frozen=True, kw_only=True, eq=False)
class RowStatistics(Statistics):
    """`Statistics` by `distances` (r, d), float64, with Q = distances^T distances: cheaper where r is below d.

    A row's distance is that from the mean of its class, times the root of how often the row counts.
    """

    distances: Floats

    @classmethod
    def of(cls, rows: Floats, labels: Integers, repeats: Integers, *, n_classes: int) -> Self:
        """The statistics of `rows` (r, d) with `labels` (r,), each taken `repeats` (r,) times, from 1."""
        counts = np.bincount(labels, weights=repeats, minlength=n_classes).astype(np.int64)
        wide = rows.astype(np.float64)
        means = np.zeros((n_classes, rows.shape[1]))
        np.add.at(means, labels, wide * repeats[:, None])
        means /= np.maximum(counts, 1)[:, None]
        wide -= means[labels]
        wide *= np.sqrt(repeats)[:, None]
        return cls(counts=counts, means=means, distances=wide)

    @property
    def trace(self) -> float:
        """The trace of Q."""
        return float(np.einsum("rd,rd->", self.distances, self.distances))

    def evidence(self) -> Floats:
        """Mu P (c, d); by Woodbury's identity from the products (r, r) of the distances where r is below d."""
        r, d = self.distances.shape
        with _one_thread():
            if r >= d:
                return precision_product(self.means, self.distances.T @ self.distances, self.n)
            ridge = self.trace / (self.n - 1)
            projected = self.distances @ self.means.T
            inner = _solved(self.distances @ self.distances.T, ridge, projected)
            return np.asarray(d / ridge * (self.means - (self.distances.T @ inner).T))


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
        rows_of_class = order[stops[place] - counts[place] : stops[place]]
        means[place] = rows[rows_of_class].mean(axis=0, dtype=np.float64)
    return means


def closed_form(
    statistics: Statistics, *, precision_scale: PrecisionScale = "rows", prior: Prior = "uniform"
) -> tuple[Floats, Floats, str]:
    """W (c, d), b (c,) and the fallback in words ("" where none) of the shared-covariance Gaussian classifier.

    A class without rows gets the mean W and b of the others, its own prior apart: no evidence for or against it.
    """
    d, n = statistics.means.shape[1], statistics.n
    if n == 0:
        return np.zeros(statistics.means.shape), np.zeros(len(statistics.counts)), "zero-shot: no support rows"
    reason = statistics.no_scatter()
    scale = d / n if precision_scale == "published" and not reason else 1.0
    evidence = identity_precision(statistics) * statistics.means if reason else scale * n / d * statistics.evidence()
    weight, bias = linear_form(statistics.means, evidence, present=statistics.counts > 0)
    log_prior = statistics.log_prior(prior)
    if prior == "train":  # the published scale shrinks the evidence by d / n: unscaled, this prior would drown it
        log_prior = scale * log_prior
    return weight, bias + log_prior, f"identity covariance: {reason}" if reason else ""


def linear_form(means: Floats, evidence: Floats, *, present: Booleans) -> tuple[Floats, Floats]:
    """Mu P (c, d), handed in as `evidence`, and -mu P mu / 2 (c,); the mean over the `present` classes for others."""
    weight, bias = evidence.copy(), -0.5 * np.einsum("cd,cd->c", evidence, means)
    weight[~present], bias[~present] = weight[present].mean(axis=0), bias[present].mean()
    return weight, bias


def precision_product(means: Floats, scatter: Floats, n: int) -> Floats:
    """Mu P (c, d) of `means` (c, d) and the `scatter` Q (d, d) of n rows: see `Statistics.evidence`."""
    with _one_thread():
        return np.asarray(len(scatter) * _solved(scatter, np.trace(scatter) / (n - 1), means.T).T)


def _solved(square: Floats, ridge: float, right: Floats) -> Floats:
    """Inv(`square` + `ridge` I) times `right` (d, c), of a positive semidefinite square (d, d)."""
    from scipy.linalg import cho_factor, cho_solve

    ridged = np.array(square, order="F")  # LAPACK's order, or it is copied once more
    ridged[np.diag_indices(len(ridged))] += ridge
    factor = cho_factor(ridged, lower=True, overwrite_a=True, check_finite=False)
    return np.asarray(cho_solve(factor, right, check_finite=False))


def identity_precision(statistics: Statistics) -> float:
    """The factor of I in the precision of rows spread evenly on a sphere as wide as the class means lie out.

    It is d for unit rows.
    """
    d = statistics.means.shape[1]
    size = statistics.counts @ np.einsum("cd,cd->c", statistics.means, statistics.means) + statistics.trace
    return float(d * statistics.n / (size or 1.0))


def check_choice(name: str, value: object, choices: object) -> None:
    """Raise ParameterError unless `value` is one of the words of the Literal `choices`."""
    if value not in get_args(choices):
        allowed = ", ".join(get_args(choices))
        raise ParameterError(f"`{name}` must be one of {allowed}; got {value!r}. Choose one of these.")


def _one_thread() -> AbstractContextManager[None]:
    """Products of a small square are one wait for the other thread after the next: on busy cores it costs 5-fold."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    limits: AbstractContextManager[None] = threadpool_limits(limits=1, user_api="blas")
    return limits
