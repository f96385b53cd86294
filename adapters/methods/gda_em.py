"""GDA without labels: a Gaussian mixture with one covariance, fitted to an unlabelled pool from zero-shot's guesses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from evenly.adapters.contract import check_positive
from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.affine_residual import AffineResidual
from evenly.adapters.forms.class_statistics import NO_SCATTER, Prior, check_choice, linear_form
from evenly.adapters.methods.zero_shot import cosine_logits

POOL_ROWS = 4096
"""Rows of responsibilities made at a time: 33 MB of float64 per 1000 classes."""
NO_ROW = 1e-9
"""Responsibility for all rows together, in rows, below which a class has none."""


@dataclass(kw_only=True, eq=False)
class GDAUnsupervised(AffineResidual):
    """logits = zero-shot + `alpha` * (W x + b) as in `GDA` (arXiv:2402.04087), W and b from `unlabelled` rows by EM.

    First responsibilities: the softmax of zero-shot. M step: class means, shares pi and one covariance S, weighted by
    them; P = inv(S + `shrinkage` * tr(S)/(m-1) I), the precision of `GDA` for m rows. E step: responsibilities by
    pi exp(x P mu - mu P mu / 2). Ends after `max_iterations`, or when the log-likelihood moves by less than
    `tolerance` nats per row. `log_likelihood_` (iterations,): its mean per row after each M step; it never falls where
    `shrinkage` is 0, which needs a covariance of full rank. The paper gives neither a number of iterations nor a ridge
    for this setting: these are ours.
    Labelled rows are not used. `prior` of the final b: "uniform" is 1/c, "train" the share pi of the pool (at least one
    row). A class that no row speaks for gets the mean evidence of the others.
    Fallback, said in `fallback_`: zero-shot where the pool has no more rows than classes, or no scatter within them.
    """

    needs: ClassVar[tuple[str, ...]] = ("prototypes", "unlabelled")
    learns_from: ClassVar[tuple[str, ...]] = ("unlabelled",)

    prior: Prior = "uniform"
    shrinkage: float = 1.0
    max_iterations: int = 50
    tolerance: float = 1e-4

    log_likelihood_: Floats = field(init=False, repr=False)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("prior", self.prior, Prior)
        check_positive("shrinkage", self.shrinkage, or_zero=True)
        check_positive("max_iterations", self.max_iterations, integer=True)
        check_positive("tolerance", self.tolerance, or_zero=True)

    def _learn(self, features: Features, labels: Integers) -> None:  # noqa: ARG002 - of the pool only
        self.weight_, self.bias_ = np.zeros(self.prototypes_.shape), np.zeros(len(self.prototypes_))
        self.log_likelihood_ = np.zeros(0)
        pool = features.unlabelled
        rows, classes = 0 if pool is None else len(pool), len(self.prototypes_)
        if pool is None or rows <= classes:
            self.fallback_ = f"zero-shot: {rows} unlabelled rows are not more than {classes} classes"
            return
        mixture = self._mixture(_Pool(pool))
        if mixture is None:
            self.fallback_ = "zero-shot: the unlabelled rows of each class are all equal"
            return
        weights = np.maximum(mixture.mass, 1) if self.prior == "train" else np.ones(classes)
        self.weight_, bias = linear_form(mixture.means, mixture.evidence, present=mixture.mass > NO_ROW)
        self.bias_ = bias + np.log(weights / weights.sum())

    def _mixture(self, pool: "_Pool") -> "_Mixture | None":
        """The mixture of the last iteration; None where the first one has no scatter."""
        moments, _ = pool.moments(lambda rows: (softmax(cosine_logits(rows, self.prototypes_, self.logit_scale)), 0.0))
        likelihoods: list[float] = []
        last: _Mixture | None = None
        while len(likelihoods) < self.max_iterations:
            mixture = _maximised(moments, pool, shrinkage=self.shrinkage)
            if mixture is None:
                break
            last = mixture
            moments, log_sums = pool.moments(mixture.expected)
            likelihoods.append(log_sums / len(pool) + mixture.log_density)
            if len(likelihoods) > 1 and abs(likelihoods[-1] - likelihoods[-2]) < self.tolerance:
                break
        self.log_likelihood_ = np.array(likelihoods)
        return last


class _Moments(NamedTuple):
    """The weight of all rows per class, `mass` (c,), and the weighted `sums` (c, d) of the rows around their mean."""

    mass: Floats
    sums: Floats


class _Pool:
    """The unlabelled rows (m, d), their mean, and their scatter around it as `axes` (d, d) and a `spread` (d,) on each.

    One decomposition: in these axes the covariance of every M step is diagonal but for one rank per class.
    """

    def __init__(self, rows: Floats) -> None:
        self.rows = rows
        self.centre = rows.mean(axis=0, dtype=np.float64)
        self.power = float(np.einsum("md,md->", rows, rows, dtype=np.float64)) / len(rows)
        scatter = np.zeros((rows.shape[1], rows.shape[1]))
        for block in self.blocks():
            scatter += (block - self.centre).T @ (block - self.centre)
        spread, self.axes = np.linalg.eigh(scatter)
        self.spread = np.maximum(spread, 0.0)

    def __len__(self) -> int:
        return len(self.rows)

    def blocks(self) -> Iterator[Floats]:
        """The rows in float64, some thousand at a time."""
        for start in range(0, len(self.rows), POOL_ROWS):
            yield self.rows[start : start + POOL_ROWS].astype(np.float64)

    def moments(self, weigh: Callable[[Floats], tuple[Floats, float]]) -> tuple[_Moments, float]:
        """The moments of the rows under the weights (m, c) that `weigh` gives them, and the sum of its other values."""
        mass, sums, total = 0.0, 0.0, 0.0
        for block in self.blocks():
            weights, value = weigh(block)
            mass, sums, total = mass + weights.sum(axis=0), sums + weights.T @ (block - self.centre), total + value
        return _Moments(np.asarray(mass), np.asarray(sums)), total


class _Mixture(NamedTuple):
    """Weight per class `mass` (c,), in rows, `means` mu (c, d) and `evidence` mu P (c, d), P the shared precision.

    `log_density` is what the log-likelihood per row holds beside `expected`, in nats: all that is the same for every
    class.
    """

    mass: Floats
    means: Floats
    evidence: Floats
    log_density: float

    def expected(self, rows: Floats) -> tuple[Floats, float]:
        """Responsibilities (m, c) of the classes for the rows (m, d), and the sum of the logs of their totals."""
        present = self.mass > NO_ROW
        weight, bias = linear_form(self.means, self.evidence, present=present)
        with np.errstate(divide="ignore"):  # log 0 = -inf: a class without a row gets none
            shares = np.where(present, np.log(self.mass / self.mass.sum()), -np.inf)
        joint = rows @ weight.T + (bias + shares)
        peak = joint.max(axis=1, keepdims=True)
        odds = np.exp(joint - peak)
        totals = odds.sum(axis=1, keepdims=True)
        return odds / totals, float(peak.sum() + np.log(totals).sum())


def _maximised(moments: _Moments, pool: _Pool, *, shrinkage: float) -> _Mixture | None:
    """The M step; None where nothing is left of the covariance within the classes.

    In the axes of the pool the covariance is diag(D) - U U^T, U (d, c) the parts of the class means; so P follows from
    D and a c x c matrix K = I - U^T D^-1 U by Woodbury's identity, its determinant by the lemma of that name.
    """
    m, d = pool.rows.shape
    sums = moments.sums @ pool.axes
    offsets = sums / np.maximum(moments.mass, NO_ROW)[:, None]
    left = (pool.spread.sum() - np.einsum("cd,cd->", sums, offsets)) / m
    if left <= NO_SCATTER * pool.power:
        return None
    variances = pool.spread / m + shrinkage * left / (m - 1)
    mean_parts = sums.T / np.sqrt(m * np.maximum(moments.mass, NO_ROW))
    try:
        half, log_determinant = _woodbury(variances, mean_parts)
    except np.linalg.LinAlgError as error:
        if shrinkage and left <= 1e3 * NO_SCATTER * pool.power:  # the classes are points, to rounding
            return None
        raise ParameterError(
            f"`shrinkage` must be above 0 where the covariance within classes is singular, as that of {m} unlabelled "
            f"rows of dimension {d} is; got {shrinkage}. Set it to 1."
        ) from error
    centre = pool.centre @ pool.axes
    means = centre + offsets
    evidence = means / variances + means @ half @ half.T
    spread = pool.spread @ (1 / variances + np.einsum("dc,dc->d", half, half)) / m
    spread += centre @ (centre / variances) + np.square(centre @ half).sum()
    log_density = -0.5 * (log_determinant + d * np.log(2 * np.pi) + spread)
    return _Mixture(moments.mass, means @ pool.axes.T, evidence @ pool.axes.T, float(log_density))


def _woodbury(variances: Floats, mean_parts: Floats) -> tuple[Floats, float]:
    """H (d, c) with inv(diag(D) - U U^T) = diag(1 / D) + H H^T, and the log determinant of diag(D) - U U^T.

    LinAlgError where that is singular or not positive definite, to rounding.
    """
    if variances.min() <= len(variances) * np.finfo(np.float64).eps * variances.max():
        raise np.linalg.LinAlgError("singular")
    scaled = mean_parts / variances[:, None]
    factor = np.linalg.cholesky(np.eye(mean_parts.shape[1]) - mean_parts.T @ scaled)
    half = np.linalg.solve(factor, scaled.T).T
    return half, float(np.log(variances).sum() + 2 * np.log(np.diagonal(factor)).sum())
