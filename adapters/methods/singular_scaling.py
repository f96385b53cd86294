"""Singular scaling: one trained scale per direction of a fixed orthonormal basis of the texts or of the images."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from evenly.adapters.contract import Adapter, Grid, affine, check_positive
from evenly.adapters.errors import ParameterError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.class_statistics import check_choice
from evenly.adapters.methods.zero_shot import cosine_logits, scaled
from evenly.adapters.training import Schedule, endless_batches, minimise, row_keys

if TYPE_CHECKING:
    from torch import Tensor

Basis = Literal["texts", "images"]
EQUAL_VALUES = 1e-5
"""Singular values closer than this share of the largest span one subspace, whose basis is arbitrary: one scale."""
NO_VALUE = 1e-6
"""Share of the largest singular value below which a direction is rounding and is left out."""
BATCH_ROWS = 32


@dataclass(kw_only=True, eq=False)
class SingularScaling(Adapter):
    """logits = `logit_scale` * x V diag(g^alpha) V^T T^T + what of x lies outside V, scaled by 1.

    V (d, r) is the right singular basis of the texts T = U diag(s) V^T, which makes this x V diag(s g) U^T, or of the
    images; it stays fixed and g (r,) is trained from 1. The features-only analogue of CLIP-SVD (Koleilat et al. 2025,
    arXiv:2509.03740), which scales the singular values of every linear layer of both towers.

    Conditional means that g is kept well-conditioned: it is the exponential of what is trained, so that no direction
    changes sign (the paper's may), and lies in 1 / `limit` to `limit`; weight decay draws it to 1. `alpha` 1 is the
    trained scale, 0 is zero-shot exactly, between them it shrinks to 1. Directions with equal singular values share a
    scale, for their basis is arbitrary. Cross-entropy, AdamW, weight decay 0.01, cosine to 0, batches of 32,
    `steps_per_shot` * (images per class) steps: a tenth of the paper's number at ten times its rate. No images:
    zero-shot.
    """

    grid: ClassVar[Grid] = Grid(
        parameters={
            "basis": ("texts", "images"),
            "learning_rate": (5e-4, 5e-3, 5e-2),
            "alpha": (1.0, 0.25, 0.5, 0.75),
        }
    )
    decided_late: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = 1.0
    basis: Basis = "texts"
    limit: float = 10.0
    learning_rate: float = 5e-3
    steps_per_shot: int = 20
    seed: int = 0

    basis_: Floats = field(init=False, repr=False)
    log_scales_: Floats = field(init=False, repr=False)

    def affine_form(self) -> tuple[Floats, Floats]:
        """The scaled texts, and no bias."""
        return scaled(self.prototypes_, self.logit_scale) + self._change(), np.zeros(len(self.prototypes_))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("alpha", self.alpha, or_zero=True)
        check_positive("learning_rate", self.learning_rate)
        check_positive("steps_per_shot", self.steps_per_shot, or_zero=True, integer=True)
        check_positive("limit", self.limit)
        if self.limit < 1:
            raise ParameterError(f"`limit` must be at least 1; got {self.limit!r}. Choose a larger one.")
        check_choice("basis", self.basis, Basis)

    def _learn(self, features: Features, labels: Integers) -> None:
        rows = features.image if self.basis == "images" and len(features) else self.prototypes_
        self.basis_, groups = singular_basis(rows)
        self.log_scales_ = np.zeros(len(self.basis_))
        if not len(features):
            self.fallback_ = "zero-shot: no support rows"
            return
        self.log_scales_ = self._trained(features.image, labels, groups)

    def _trained(self, image: Floats, labels: Integers, groups: Integers) -> Floats:
        """The logarithm of the scale (r,) of each direction."""
        import torch
        from torch.nn.functional import cross_entropy

        coordinates = torch.from_numpy(affine(image, self.basis_).astype(np.float32))
        texts = torch.from_numpy((self.logit_scale * affine(self.prototypes_, self.basis_)).astype(np.float32).T)
        zero_shot = torch.from_numpy(cosine_logits(image, self.prototypes_, self.logit_scale).astype(np.float32))
        truth, places = torch.from_numpy(labels), torch.from_numpy(groups)
        trained = torch.zeros(int(groups.max()) + 1, requires_grad=True)
        bound = float(np.log(self.limit))

        def loss(batch: Integers) -> "Tensor":
            rows = torch.from_numpy(batch)
            with torch.no_grad():
                trained.clamp_(-bound, bound)  # back into the limits, where the gradient is not lost
            change = torch.expm1(trained)[places]
            return cross_entropy(zero_shot[rows] + (coordinates[rows] * change) @ texts, truth[rows])

        shots = -(-len(labels) // int(np.count_nonzero(self.support_)))
        batches = endless_batches(row_keys(image), batch_size=min(BATCH_ROWS, len(image)), seed=self.seed)
        steps = [batch for _, batch in zip(range(shots * self.steps_per_shot), batches, strict=False)]
        minimise([trained], loss, steps, rule=Schedule(learning_rate=self.learning_rate, weight_decay=0.01))
        learned = trained.detach().numpy().astype(np.float64)[groups]
        return np.asarray(np.clip(learned, -bound, bound))

    def _logits(self, features: Features) -> Floats:
        return affine(features.image, scaled(self.prototypes_, self.logit_scale) + self._change())

    def _change(self) -> Floats:
        """The addition of the scales to the zero-shot weights (c, d): exactly 0 where every scale is 1."""
        bound = np.log(self.limit)
        change = np.expm1(np.clip(self.alpha * self.log_scales_, -bound, bound))
        return np.asarray(self.logit_scale * (affine(self.prototypes_, self.basis_) * change) @ self.basis_)


def singular_basis(rows: Floats) -> tuple[Floats, Integers]:
    """The right singular vectors of `rows` (n, d) as rows (r, d), largest value first, and a group (r,) for each.

    Directions without a value are left out; those of equal values are in one group, counted from 0.
    """
    _, values, basis = np.linalg.svd(rows.astype(np.float64), full_matrices=False)
    kept = values > NO_VALUE * values[0]
    steps = np.diff(values[kept], prepend=values[0]) < -EQUAL_VALUES * values[0]
    return np.ascontiguousarray(basis[kept]), np.cumsum(steps)
