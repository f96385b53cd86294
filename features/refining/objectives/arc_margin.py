"""A margin between labels for pictures, and texts held to them: MCIP, Schall et al. 2024, arXiv:2409.01936."""

import math
from typing import TYPE_CHECKING

import numpy as np

from evenly.features.refining.objective import Batch, Objective, Sides, codes, drawn_row, info_nce
from evenly.features.refining.pairs import PairRows

if TYPE_CHECKING:
    from torch import Tensor


class ArcMargin(Objective):
    """ArcFace over labels, or groups where there is no label, beside InfoNCE that keeps texts with their pictures.

    A class's centre is the mean direction of its pictures by the frozen encoder: nothing is learnt for it. Pictures
    alone of their class have no part in it. At a rate of `others` one of the other texts that a pair was offered is its
    caption. In the last share `realigned` of training pictures stay, and texts alone follow them by InfoNCE. The
    paper's captions are made by a model, and stand in its ArcFace.
    """

    uses_negatives = True
    learns_labels = True
    needs = ("texts",)

    def __init__(
        self, *, margin: float = 0.3, scale: float = 16.0, weight: float = 1.0, others: float = 0.25,
        realigned: float = 0.3, temperature: float = 0.05,
    ) -> None:  # fmt: skip
        self.margin, self.scale, self.weight = margin, scale, weight
        self.others, self.realigned, self.temperature = others, realigned, temperature

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Find the centres of the classes of two pictures and more."""
        import torch

        del seed
        named = np.where(pairs.labels != "", np.char.add("label ", pairs.labels), np.char.add("group ", pairs.groups))
        numbers = codes(named)
        unit = pairs.image / np.linalg.norm(pairs.image, axis=1, keepdims=True)
        sums = np.zeros((int(numbers.max()) + 1, unit.shape[1]), np.float64)
        np.add.at(sums, numbers, unit)
        is_class = np.bincount(numbers) > 1
        places = np.where(is_class, np.cumsum(is_class) - 1, -1)
        centres = sums[is_class] / np.linalg.norm(sums[is_class], axis=1, keepdims=True)
        self._centres = torch.from_numpy(centres.astype(pairs.image.dtype))
        self._classes = torch.from_numpy(places[numbers])

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """InfoNCE + weight x ArcFace; towards the end InfoNCE for texts alone."""
        from torch.nn.functional import cross_entropy, one_hot

        if batch.progress >= 1 - self.realigned:
            still = Sides(image=refined.image.detach(), text=refined.text)
            return info_nce(still, batch.negatives, temperature=self.temperature)
        captioned = Sides(image=refined.image, text=self._captions(batch, refined, original))
        paired = info_nce(captioned, batch.negatives, temperature=self.temperature)
        classes = self._classes[batch.places]
        has_class = classes >= 0
        if not has_class.any() or len(self._centres) < 2:
            return paired
        cosines = (refined.unit().image[has_class] @ self._centres.T).clamp(-1 + 1e-6, 1 - 1e-6)
        targets = one_hot(classes[has_class], len(self._centres)).to(cosines.dtype)
        angles = (cosines.acos() + self.margin * targets).clamp(max=math.pi)
        return paired + self.weight * cross_entropy(self.scale * angles.cos(), classes[has_class])

    def _captions(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """The own caption of each pair, or another that it was offered."""
        import torch

        rows, has_one = drawn_row(batch.pairs.texts, batch)
        is_other = (torch.rand(len(rows), generator=batch.generator) < self.others) & has_one
        return torch.where(is_other[:, None], batch.refined(Sides(image=original.image, text=rows)).text, refined.text)
