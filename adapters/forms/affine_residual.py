"""The form of the Gaussian classifiers: zero-shot plus `alpha` times evidence that is affine in the image row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from evenly.adapters.contract import Adapter, Grid, check_positive
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.zero_shot import cosine_logits, scaled

PRODUCT_ROWS = 2048
"""Rows multiplied at a time: fewer make two threads wait for each other too often, more only take memory."""
CACHED_ROWS = 512
"""Rows weighed at a time: the logits of 1000 classes (4 MB of float64) stay in the cache over all points."""


@dataclass(kw_only=True, eq=False)
class AffineResidual(Adapter):
    """logits = zero-shot + `alpha` * (`weight_` x + `bias_`), weight (c, d) and bias (c,) in float64.

    `alpha` acts after `fit`: its points share one pair of products.
    """

    grid: ClassVar[Grid] = Grid(parameters={"alpha": (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)})
    decided_late: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = 0.1

    weight_: Floats = field(init=False, repr=False)
    bias_: Floats = field(init=False, repr=False)

    def sweep(self, features: Features, points: Sequence[Mapping[str, Any]]) -> Iterator[Floats]:
        """Logits at each alpha, from one product with the features."""
        self._check_fitted_on(features)
        zero_shot, evidence = self._parts(features)
        for alpha in self._alphas(points):
            logits = np.empty(zero_shot.shape, dtype=np.float32)
            for block in _blocks(len(logits), CACHED_ROWS):
                _weigh(zero_shot[block], evidence[block], alpha, out=logits[block])
            yield logits

    def correct_counts(
        self,
        features: Features,
        labels: Integers,
        points: Sequence[Mapping[str, Any]],
        *,
        chunk_rows: int = PRODUCT_ROWS,
    ) -> Integers:
        """Rows predicted right at each of `points` (p,), from logits that never leave the cache."""
        self._check_fitted_on(features)
        check_positive("chunk_rows", chunk_rows, integer=True)
        alphas = self._alphas(points)
        counts = np.zeros(len(alphas), dtype=np.int64)
        for rows in _blocks(len(features), chunk_rows):
            zero_shot, evidence = self._parts(features.rows(rows))
            for block in _blocks(len(zero_shot), CACHED_ROWS):
                truth, logits = labels[rows][block], np.empty(zero_shot[block].shape, dtype=np.float32)
                for place, alpha in enumerate(alphas):
                    _weigh(zero_shot[block], evidence[block], alpha, out=logits)
                    counts[place] += np.count_nonzero(logits.argmax(axis=1) == truth)
        return counts

    def affine_form(self) -> tuple[Floats, Floats]:
        """Zero-shot and evidence in one."""
        return scaled(self.prototypes_, self.logit_scale) + self.alpha * self.weight_, self.alpha * self.bias_

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("alpha", self.alpha, or_zero=True)

    def _alphas(self, points: Sequence[Mapping[str, Any]]) -> list[float]:
        """The alpha of each point; a name that does not act after `fit` is an error."""
        original = self.get_params()
        try:
            return [self.set_params(**point).alpha for point in points]
        finally:
            self.set_params(**original)

    def _logits(self, features: Features) -> Floats:
        zero_shot, evidence = self._parts(features)
        return np.asarray(zero_shot + self.alpha * evidence)

    def _parts(self, features: Features) -> tuple[Floats, Floats]:
        """Zero-shot logits and evidence (m, c), float64."""
        image = features.image.astype(np.float64)
        evidence = image @ self.weight_.T
        evidence += self.bias_
        return cosine_logits(image, self.prototypes_, self.logit_scale), evidence


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def _weigh(zero_shot: Floats, evidence: Floats, alpha: float, *, out: Floats) -> None:
    """Write zero-shot + alpha * evidence, made in float64, into `out` (float32)."""
    np.add(zero_shot, alpha * evidence, out=out, casting="same_kind")
