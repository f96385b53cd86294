"""GDA for classes without images: their Gaussians from the rows of other classes that lie nearest to their texts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evenly.adapters.contract import check_positive
from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.affine_residual import AffineResidual
from evenly.adapters.forms.class_statistics import NO_SCATTER, all_views, class_means

PUBLISHED_NEIGHBOURS = 64
"""Rows per new class in the paper: ten views per image, so about 6.4 images."""
PUBLISHED_VIEWS = 10
RELATIVE_CUT = float(np.finfo(np.float32).eps)
"""Times d and the largest eigenvalue: what the pseudo-inverse takes for zero, as in float32, the paper's precision."""
_CLASSES_AT_ONCE = 64


@dataclass(kw_only=True, eq=False)
class GDABaseToNew(AffineResidual):
    """logits = zero-shot + `alpha` * (W x + b), base-to-new fit of Wang et al. (ICLR 2024, arXiv:2402.04087).

    Base classes have support: W = mu P, P = pinv(mean over them of the covariance of the class), no shrinkage; classes
    of one row have no covariance and stay out of the mean. New classes have none: of all support rows the `neighbours`
    k with the largest w x, w the prototype; mu = (1 - `text_share`) * mean of these + `text_share` * w; R = sum of
    (x - w)(x - w)^T, P = mean over the new classes of d * inv(R + tr(R)/(k-1) I). b = log(1/c) - mu P mu / 2.
    `neighbours` None is 6.4 per view, the paper's 64 for its 10 views and 6 for plain images: more would reach into
    wrong classes. `text_share` 0.2 is its 16 copies of w beside 64 rows.
    Differs from the paper: d instead of a fixed 512. The scale of P needs no care here, unlike in `GDA`: its ridge is
    about the squared distance of the rows from w, whatever k. But it is another one than that of the base classes:
    judge base classes among base and new among new, as `evaluate_base_to_new` does.
    Fallbacks, said in `fallback_`: no support, zero-shot; no scatter within the base classes, P = d I for them.
    """

    neighbours: int | None = None
    text_share: float = 0.2

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.neighbours is not None:
            check_positive("neighbours", self.neighbours, integer=True)
        check_positive("text_share", self.text_share, or_zero=True)
        if self.text_share > 1:
            raise ParameterError(f"`text_share` must be at most 1; got {self.text_share}. 0.2 is the paper's.")

    def _learn(self, features: Features, labels: Integers) -> None:
        self.weight_, self.bias_ = np.zeros(self.prototypes_.shape), np.zeros(len(self.prototypes_))
        base = self.support_ > 0
        if not base.any():
            self.fallback_ = "zero-shot: no support rows"
            return
        rows, repeated = all_views(features, labels)
        views = 1 if features.views is None else len(features.views)
        means = class_means(rows, repeated, views * self.support_)
        root = precision_root(rows, repeated, means)
        if root is None:
            self.fallback_ = "identity covariance of base classes: the rows of each are all equal"
            self.weight_[base] = rows.shape[1] * means[base]
        else:
            self.weight_[base] = means[base] @ root @ root.T
        if not base.all():
            texts = self.prototypes_[~base].astype(np.float64)
            count = self.neighbours or round(views * PUBLISHED_NEIGHBOURS / PUBLISHED_VIEWS)
            nearest_means, precision = new_class_statistics(rows, texts, neighbours=min(count, len(rows)))
            means[~base] = (1 - self.text_share) * nearest_means + self.text_share * texts
            self.weight_[~base] = means[~base] @ precision
        self.bias_ = -np.log(len(base)) - 0.5 * np.einsum("cd,cd->c", self.weight_, means)


def precision_root(rows: Floats, labels: Integers, means: Floats) -> Floats | None:
    """A (d, r) with A A^T the pinv of the mean over classes of the covariance of a class; None without scatter.

    `means` (c, d) are those of the classes; classes of fewer than two rows have no covariance. From the eigenvectors of
    the smaller of the covariance and of the products of the rows with each other, which have the same values.
    """
    n, d = rows.shape
    counts = np.bincount(labels, minlength=len(means))
    scattered = counts > 1
    weights = scattered / np.maximum(counts - 1, 1) / np.maximum(scattered.sum(), 1)

    def residuals(block: slice) -> Floats:
        return np.asarray((rows[block] - means[labels[block]]) * np.sqrt(weights[labels[block]])[:, None])

    if n < d:
        deviations = residuals(slice(None))
        values, vectors = np.linalg.eigh(deviations @ deviations.T)
        total = values.sum()
    else:
        covariance = np.zeros((d, d))
        for block in _blocks(n):
            part = residuals(block)
            covariance += part.T @ part
        values, vectors = np.linalg.eigh(covariance)
        total = np.trace(covariance)
    if total <= NO_SCATTER * np.einsum("nd,nd->", rows, rows, dtype=np.float64) / n:
        return None
    kept = values > d * RELATIVE_CUT * values[-1]
    if n < d:
        return np.asarray(deviations.T @ (vectors[:, kept] / values[kept]))
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


def new_class_statistics(rows: Floats, texts: Floats, *, neighbours: int) -> tuple[Floats, Floats]:
    """For classes known by `texts` (c, d): the means of the `neighbours` rows nearest to each (c, d), and P (d, d).

    P is the mean over the classes of d * inv(R + tr(R)/(k-1) I), R the scatter of the k rows around the text. By
    Woodbury's identity, so that a class costs the inverse of a k x k matrix.
    """
    d = rows.shape[1]
    means = np.empty(texts.shape)
    diagonal, products, counted = 0.0, np.zeros((d, d)), 0
    for place, nearest in enumerate(_nearest(rows, texts, neighbours)):
        means[place] = nearest.mean(axis=0)
        deviations = nearest - texts[place]
        gram = deviations @ deviations.T
        ridge = np.trace(gram) / max(neighbours - 1, 1)
        if ridge <= NO_SCATTER:  # the rows are the text: no covariance
            continue
        factor = np.linalg.cholesky(gram + ridge * np.eye(neighbours))
        half = np.linalg.solve(factor, deviations)
        diagonal, products, counted = diagonal + 1 / ridge, products + half.T @ half / ridge, counted + 1
    if not counted:
        return means, d * np.eye(d)
    return means, d / counted * (diagonal * np.eye(d) - (products + products.T) / 2)


def _nearest(rows: Floats, texts: Floats, neighbours: int) -> Iterator[Floats]:
    """The `neighbours` rows (k, d) with the largest product with each text, float64."""
    for start in range(0, len(texts), _CLASSES_AT_ONCE):
        products = texts[start : start + _CLASSES_AT_ONCE].astype(rows.dtype) @ rows.T
        for product in products:
            indices = np.argpartition(product, len(rows) - neighbours)[len(rows) - neighbours :]
            yield rows[indices].astype(np.float64)


def _blocks(n: int, size: int = 8192) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))
