"""Several cluster labels for each picture: MLCD, An et al., ECCV 2024, arXiv:2407.17331."""

from typing import TYPE_CHECKING

import numpy as np

from evenly.features.refining.objective import Batch, Objective, Sides, info_nce
from evenly.features.refining.pairs import PairRows

if TYPE_CHECKING:
    from torch import Tensor


class Mlcd(Objective):
    """log(1 + sum of exp(s) over other clusters) + log(1 + sum of exp(-s) over its own), beside InfoNCE for texts.

    Clusters are by k-means on the frozen rows of the pairs, one for every `pictures_per_cluster`; a picture's own are
    the `nearest` centres. The paper has a million centres and draws among the negative ones.
    """

    uses_negatives = True
    gains = False

    def __init__(
        self, *, pictures_per_cluster: int = 20, nearest: int = 8, scale: float = 16.0, weight: float = 0.5,
        temperature: float = 0.05,
    ) -> None:  # fmt: skip
        self.pictures_per_cluster, self.nearest, self.scale = pictures_per_cluster, nearest, scale
        self.weight, self.temperature = weight, temperature

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Cluster the pictures."""
        import torch
        from sklearn.cluster import MiniBatchKMeans

        unit = pairs.image / np.linalg.norm(pairs.image, axis=1, keepdims=True)
        count = max(2, len(unit) // self.pictures_per_cluster)
        fitted = MiniBatchKMeans(n_clusters=count, random_state=seed, n_init=1).fit(unit)
        centres = fitted.cluster_centers_ / np.linalg.norm(fitted.cluster_centers_, axis=1, keepdims=True)
        self._centres = torch.from_numpy(centres.astype(unit.dtype))
        nearest = np.argsort(-(unit @ centres.T), axis=1)[:, : min(self.nearest, count - 1)]
        self._own = torch.from_numpy(nearest)

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """InfoNCE + weight x the loss over clusters."""
        import torch

        del original
        scores = self.scale * (refined.unit().image @ self._centres.T)
        is_own = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, self._own[batch.places], True)
        zero = torch.zeros(len(scores), 1)
        against = torch.cat([zero, scores.masked_fill(is_own, float("-inf"))], 1).logsumexp(1)
        owns = torch.cat([zero, (-scores).masked_fill(~is_own, float("-inf"))], 1).logsumexp(1)
        discriminated: Tensor = (against + owns).mean() / self.scale
        return info_nce(refined, batch.negatives, temperature=self.temperature) + self.weight * discriminated
