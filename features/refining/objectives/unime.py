"""The hardest negatives that are not likely to be right: UniME, Gu et al. 2025, arXiv:2504.17432."""

from typing import TYPE_CHECKING

from evenly.features.refining.objective import Sides

if TYPE_CHECKING:
    from torch import Tensor


class HardNegatives:
    """Of the pairs that count against a picture the `hardest` nearest, but none nearer than its own text by `window`.

    By cosines of the refined encoder as it is: a text that is nearer than the own one by more than the window is taken
    to be right too. The public code's gather, which lets no gradient through, is not followed.
    """

    version = 2  # of 1 the frozen encoder's cosines picked

    def __init__(self, *, window: float = 0.1, hardest: int = 8) -> None:
        self.window, self.hardest = window, hardest

    def negatives(self, allowed: "Tensor", refined: Sides) -> "Tensor":
        """Booleans (b, b)."""
        import torch

        unit = refined.unit()
        cosines = (unit.image @ unit.text.T).detach()
        left = allowed & (cosines <= cosines.diagonal()[:, None] + self.window)
        ranked = cosines.masked_fill(~left, float("-inf"))
        places = ranked.topk(min(self.hardest, len(ranked)), dim=1).indices
        return left & torch.zeros_like(left).scatter_(1, places, True)
