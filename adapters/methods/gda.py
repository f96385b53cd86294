"""GDA: Gaussian discriminant analysis in closed form, added to zero-shot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from adapters.contract import Adapter, Grid, affine, check_positive
from adapters.errors import ParameterError
from adapters.features_record import Features, Floats, Integers
from adapters.methods.zero_shot import cosine_logits, scaled

PrecisionScale = Literal["rows", "published"]
NO_SCATTER = 1e-12
"""Variance within classes, relative to the rows' second moment, below which it is rounding and not scatter."""


@dataclass(kw_only=True, eq=False)
class GDA(Adapter):
    """logits = zero-shot + `alpha` * (W x + b) (Wang et al., ICLR 2024, arXiv:2402.04087), few-shot fit.

    W = mu P, b = log(1/c) - mu P mu / 2, class means mu, P the Kubokawa-Srivastava precision of the pooled scatter.
    Differs from the paper: the published P = d * inv(Q + tr(Q)/(n-1) I) shrinks as 1/n, so that the best alpha grows
    with the number of rows. `precision_scale` "rows" multiplies it by n/d, which makes it an inverse covariance and
    keeps the meaning of alpha; "published" leaves it. All views are rows, where views are given; else the images.
    A class without support gets the mean W and b of the others: no evidence for or against it.
    Fallbacks, said in `fallback_`: no support, zero-shot; no more rows than classes, or no scatter within them,
    P = d I (the precision of rows spread evenly on the sphere). Solved in float64.
    """

    grid: ClassVar[Grid] = Grid(parameters={"alpha": (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)})
    decided_late: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = 0.1
    precision_scale: PrecisionScale = "rows"

    weight_: Floats = field(init=False, repr=False)
    bias_: Floats = field(init=False, repr=False)

    def sweep(self, features: Features, points: Sequence[Mapping[str, Any]]) -> Iterator[Floats]:
        """Logits at each alpha, from one product with the features."""
        self._check_fitted_on(features)
        zero_shot, evidence = self._parts(features)
        for point in points:
            alpha = {"alpha": self.alpha, **point}["alpha"]
            yield (zero_shot + alpha * evidence).astype(np.float32)

    def affine_form(self) -> tuple[Floats, Floats]:
        """Zero-shot and evidence in one."""
        return scaled(self.prototypes_, self.logit_scale) + self.alpha * self.weight_, self.alpha * self.bias_

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("alpha", self.alpha, or_zero=True)
        if self.precision_scale not in get_args(PrecisionScale):
            known = ", ".join(get_args(PrecisionScale))
            raise ParameterError(
                f"`precision_scale` must be one of {known}; got {self.precision_scale!r}. Choose one of these."
            )

    def _learn(self, features: Features, labels: Integers) -> None:
        rows, repeated = features.image, labels
        if features.views is not None:
            rows, repeated = np.concatenate(features.views), np.tile(labels, len(features.views))
        self.weight_, self.bias_, self.fallback_ = discriminant(
            rows, repeated, n_classes=len(self.prototypes_), precision_scale=self.precision_scale
        )

    def _logits(self, features: Features) -> Floats:
        zero_shot, evidence = self._parts(features)
        return np.asarray(zero_shot + self.alpha * evidence)

    def _parts(self, features: Features) -> tuple[Floats, Floats]:
        return (
            cosine_logits(features.image, self.prototypes_, self.logit_scale),
            affine(features.image, self.weight_, self.bias_),
        )


def discriminant(
    rows: Floats, labels: Integers, *, n_classes: int, precision_scale: PrecisionScale = "rows"
) -> tuple[Floats, Floats, str]:
    """W (c, d), b (c,) and the fallback in words ("" where none) of the shared-covariance Gaussian classifier.

    `rows` (n, d) need not be of unit length. Uniform prior.
    """
    n, d = rows.shape
    if n == 0:
        return np.zeros((n_classes, d)), np.zeros(n_classes), "zero-shot: no support rows"
    counts = np.bincount(labels, minlength=n_classes)
    present = counts > 0
    means, scatter = class_means_and_scatter(rows.astype(np.float64), labels, counts)
    fallback = _why_no_scatter(rows, scatter, n_classes)
    precision = d * np.eye(d) if fallback else shrunk_precision(scatter, n)
    if precision_scale == "rows" and not fallback:
        precision *= n / d
    weight = means @ precision
    bias = -np.log(n_classes) - 0.5 * np.einsum("cd,cd->c", weight, means)
    weight[~present], bias[~present] = weight[present].mean(axis=0), bias[present].mean()
    return weight, bias, fallback


def class_means_and_scatter(rows: Floats, labels: Integers, counts: Integers) -> tuple[Floats, Floats]:
    """Class means (c, d), zero where a class has no row, and the pooled scatter Q (d, d) of the rows around them."""
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, labels, rows)
    means /= np.maximum(counts, 1)[:, None]
    residuals = rows - means[labels]
    return means, residuals.T @ residuals


def shrunk_precision(scatter: Floats, n: int) -> Floats:
    """P = d * inv(Q + tr(Q)/(n-1) I) (d, d): symmetric, positive definite; n rows above 1, Q not zero.

    Kubokawa and Srivastava's empirical-Bayes ridge on the covariance Q/(n-1). From the inverse of the Cholesky factor,
    so that the result is symmetric to the bit.
    """
    d = len(scatter)
    factor = np.linalg.cholesky(scatter + np.trace(scatter) / (n - 1) * np.eye(d))
    inverse = np.linalg.inv(factor)
    return d * (inverse.T @ inverse)


def _why_no_scatter(rows: Floats, scatter: Floats, n_classes: int) -> str:
    if len(rows) <= n_classes:
        return f"identity covariance: {len(rows)} rows are not more than {n_classes} classes"
    size = float(np.einsum("nd,nd->", rows, rows, dtype=np.float64))
    if np.trace(scatter) <= NO_SCATTER * size:
        return "identity covariance: the rows of each class are all equal"
    return ""
