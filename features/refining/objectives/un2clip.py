"""Rows that tell the details of pictures: after un2CLIP, Li et al. 2025, arXiv:2505.24517, without diffusion."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evenly.features.refining.objective import Batch, Objective, Sides, asked_for, info_nce
from evenly.features.refining.pairs import PairRows, SharedRows

if TYPE_CHECKING:
    from torch import Tensor

Doubles = npt.NDArray[np.float64]


class DetailInversion(Objective):
    """InfoNCE, and the quarters of a picture by a second backbone said from its row by a frozen decoder.

    The decoder is a ridge regression from frozen rows to `columns` random projections of each quarter. It keeps to what
    varies most in rows, the more so the larger `ridge` is, so that the heads are drawn to what it leaves out. The
    paper's decoder is unCLIP, a diffusion model that paints the picture, and the tower has no other loss.
    """

    uses_negatives = True
    needs = ("second",)
    gains = False

    def __init__(
        self, *, weight: float = 4.0, ridge: float = 1.0, columns: int = 64, temperature: float = 0.05
    ) -> None:
        self.weight, self.ridge, self.columns, self.temperature = weight, ridge, columns, temperature

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Fit the decoder."""
        import torch

        details = _details(asked_for(pairs.second), self.columns, seed=seed)
        rows = pairs.image.astype(np.float64)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        self._mean = torch.from_numpy(rows.mean(axis=0).astype(pairs.image.dtype))
        rows -= rows.mean(axis=0)
        details = (details - details.mean(axis=0)) / details.std()
        decoder = _ridge_regression(rows, details, self.ridge)
        self._decoder = torch.from_numpy(decoder.astype(pairs.image.dtype))
        self._details = torch.from_numpy(details.astype(pairs.image.dtype))

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """InfoNCE + weight x the mean square of details that the decoder misses, over the variance of all of them."""
        del original
        decoded = (refined.unit().image - self._mean) @ self._decoder
        missed = (decoded - self._details[batch.places]).square().mean()
        return info_nce(refined, batch.negatives, temperature=self.temperature) + self.weight * missed


def _details(second: SharedRows, columns: int, *, seed: int) -> Doubles:
    """Random projections (n, v * columns) of the parts of each picture."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    projection = generator.normal(size=(second.rows.shape[1], columns)) / np.sqrt(columns)
    projected, _ = SharedRows(rows=(second.rows @ projection).astype(second.rows.dtype), places=second.places).padded()
    details: Doubles = projected.reshape(len(projected), -1).astype(np.float64)
    return details


def _ridge_regression(rows: Doubles, targets: Doubles, ridge: float) -> Doubles:
    """The map (d, t) of rows (n, d) to targets (n, t); a penalty of 1 is the mean sum of squares of a column."""
    n, d = rows.shape
    penalty = ridge * np.square(rows).sum() / d
    if n < d:
        weights: Doubles = rows.T @ np.linalg.solve(rows @ rows.T + penalty * np.eye(n), targets)
    else:
        weights = np.linalg.solve(rows.T @ rows + penalty * np.eye(d), rows.T @ targets)
    return weights
