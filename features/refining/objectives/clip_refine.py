"""Post-pre-training that closes the modality gap: CLIP-Refine, Yamaguchi et al., CVPR 2025, arXiv:2504.12717."""

from typing import TYPE_CHECKING

from evenly.features.refining.objective import Batch, Objective, Sides

if TYPE_CHECKING:
    from torch import Tensor


class ClipRefine(Objective):
    """RaFA + HyCD, on rows that are not normalised.

    RaFA draws picture and text of a pair to one random vector; HyCD holds the softmax over the batch near the mean of
    the pairing and the frozen encoder's softmax, the mean of both ways, at temperature 1.
    """

    version = 2  # of 1 the divergence was from the target to the student, and the sum of both ways

    def __init__(self, *, random_weight: float = 1.0, distillation_weight: float = 1.0) -> None:
        self.random_weight, self.distillation_weight = random_weight, distillation_weight

    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """random_weight x RaFA + distillation_weight x HyCD."""
        import torch
        from torch.nn.functional import mse_loss

        shared = torch.randn(refined.image.shape, generator=batch.generator, dtype=refined.image.dtype)
        aligned = mse_loss(refined.image, shared) + mse_loss(refined.text, shared)
        cosines, frozen = refined.image @ refined.text.T, original.image @ original.text.T
        distilled = (_distilled(cosines, frozen) + _distilled(cosines.T, frozen.T)) / 2
        return self.random_weight * aligned + self.distillation_weight * distilled


def _distilled(cosines: "Tensor", frozen: "Tensor") -> "Tensor":
    """KL from the student's softmax to a target: half the pairing and half the teacher's softmax."""
    import torch
    from torch.nn.functional import kl_div

    target = 0.5 * torch.eye(len(cosines), dtype=frozen.dtype) + 0.5 * frozen.softmax(1)
    return kl_div(cosines.log_softmax(1), target, reduction="batchmean")
