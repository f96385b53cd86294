"""InfoNCE over the pairs of a batch, the loss of CLIP: Radford et al. 2021, arXiv:2103.00020."""

from typing import TYPE_CHECKING

from evenly.features.refining.objective import Batch, Objective, Sides, info_nce

if TYPE_CHECKING:
    from torch import Tensor


class Contrastive(Objective):
    """The own caption against those of the batch, the own picture against its pictures; temperature is fixed."""

    uses_negatives = True

    def __init__(self, *, temperature: float = 0.05) -> None:
        self.temperature = temperature

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """See `info_nce`."""
        del original
        return info_nce(refined, batch.negatives, temperature=self.temperature)
