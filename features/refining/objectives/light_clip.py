"""Targets that grow softer while training goes on, of LightCLIP: Nie et al. 2023, arXiv:2312.00674."""

from typing import TYPE_CHECKING

from evenly.features.refining.objective import Batch, Objective, Sides

if TYPE_CHECKING:
    from torch import Tensor


class LightClip(Objective):
    """Cross-entropy to targets of which a share, rising to `softness`, goes to the captions most like the own one.

    For where many captions fit a picture. Likeness is the softmax of cosines between texts by the frozen encoder. Of
    the paper's three parts this is the first; token alignment and masked words need rows of words.
    """

    gains = False

    def __init__(self, *, temperature: float = 0.05, softness: float = 0.2) -> None:
        self.temperature, self.softness = temperature, softness

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """The mean of both directions."""
        import torch

        unit, frozen = refined.unit(), original.unit()
        share = self.softness * batch.progress
        likeness = (frozen.text @ frozen.text.T / self.temperature).softmax(1)
        target = (1 - share) * torch.eye(len(likeness), dtype=likeness.dtype) + share * likeness
        logits = unit.image @ unit.text.T / self.temperature
        loss: Tensor = -0.5 * (target * logits.log_softmax(1)).sum(1).mean()
        to_texts: Tensor = -0.5 * (target.T * logits.T.log_softmax(1)).sum(1).mean()
        return loss + to_texts
