"""AMU: a linear head on a second backbone's features, added to zero-shot where zero-shot is unsure of itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from evenly.adapters.contract import Adapter, Grid, affine, check_positive
from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.class_statistics import check_choice, class_means
from evenly.adapters.methods.zero_shot import cosine_logits
from evenly.adapters.training import Schedule, epoch_batches, minimise, row_keys

if TYPE_CHECKING:
    from torch import Tensor

Uncertainty = Literal["moment", "entropy", "maximum", "none"]
MomentScale = Literal["mean", "published"]
PUBLISHED_MOMENT = 250.0
"""Fourth moment that the paper divides by, fitted to the 1000 classes of ImageNet; at most c is reached with c."""
LEAST_SPREAD = 1e-6
"""Standard deviation over the classes, in cosines or probabilities, below which a row says nothing."""


@dataclass(kw_only=True, eq=False)
class AMU(Adapter):
    """logits = zero-shot + `alpha` * kappa * z (Tang et al., CVPR 2024, arXiv:2404.08958).

    z are the outputs of a bias-free head on `second`, standardised over the classes of each row; the head starts from
    the class means. kappa falls as zero-shot grows confident: "moment" is (m4 / scale)^-`rho` with m4 the fourth
    standardised moment of the zero-shot probabilities over the classes; "entropy" is exp(`rho` * entropy / log c);
    "maximum" is (largest probability)^-`rho`; "none" is 1. Trained by `fused_share` * CE(logits) + the rest * CE(z).

    Differs from the paper: scale is the mean m4 of the validation rows (`calibrate`), without them of the support, so
    that kappa is about 1 for any number of classes; `moment_scale` "published" is the fixed 250. Training fuses with
    `training_alpha`, and `alpha` is chosen afterwards. A class without support gets the mean of the other outputs: no
    evidence. A row whose outputs are all equal gets z = 0, one whose probabilities are all equal the least m4. With
    two classes m4 is the same for every row. Fewer than two classes in the support: zero-shot.
    """

    grid: ClassVar[Grid] = Grid(parameters={"alpha": (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)})
    needs: ClassVar[tuple[str, ...]] = ("prototypes", "second")
    row_needs: ClassVar[tuple[str, ...]] = ("second",)
    decided_late: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = 0.5
    rho: float = 0.4
    uncertainty: Uncertainty = "moment"
    moment_scale: MomentScale = "mean"
    training_alpha: float = 0.5
    fused_share: float = 0.35
    learning_rate: float = 1e-3
    epochs: int = 50
    batch_size: int = 8
    seed: int = 0

    weight_: Floats = field(init=False, repr=False)
    moment_: Floats = field(init=False, repr=False)

    def calibrate(self, validation: Features) -> Self:
        """Take the mean fourth moment of zero-shot from the validation rows; with none of them, nothing changes."""
        if self.moment_scale == "mean" and len(validation):
            self.moment_ = self._mean_moment(validation)
        return self

    def sweep(self, features: Features, points: Sequence[Mapping[str, Any]]) -> Iterator[Floats]:
        """Logits at each alpha, from one product with the features."""
        self._check_fitted_on(features)
        zero_shot, evidence = self._parts(features)
        for point in points:
            alpha = {"alpha": self.alpha, **point}["alpha"]
            yield (zero_shot + alpha * evidence).astype(np.float32)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("alpha", "rho", "training_alpha"):
            check_positive(name, getattr(self, name), or_zero=True)
        check_positive("learning_rate", self.learning_rate)
        check_positive("epochs", self.epochs, or_zero=True, integer=True)
        check_positive("batch_size", self.batch_size, integer=True)
        check_positive("fused_share", self.fused_share, or_zero=True)
        if self.fused_share > 1:
            raise ParameterError(f"`fused_share` must lie in 0 to 1; got {self.fused_share!r}. Choose a share.")
        check_choice("uncertainty", self.uncertainty, Uncertainty)
        check_choice("moment_scale", self.moment_scale, MomentScale)

    def _learn(self, features: Features, labels: Integers) -> None:
        second = required_second_rows(features, adapter="AMU")
        self.moment_ = np.array([PUBLISHED_MOMENT])
        if self.moment_scale == "mean" and len(features):
            self.moment_ = self._mean_moment(features)
        present = np.flatnonzero(self.support_)
        self.weight_ = np.zeros((len(self.prototypes_), second.shape[1]))
        if len(present) < 2:
            self.fallback_ = f"zero-shot: the head needs 2 classes with images; got {len(present)}"
            return
        means = class_means(second.astype(np.float64), labels, self.support_)
        self.weight_[:] = self._trained(features, labels, means[present], present)

    def _trained(self, features: Features, labels: Integers, means: Floats, present: Integers) -> Floats:
        """The head (c, e) after training from the `means` of the classes `present`; the mean of the others if absent.

        AdamW with weight decay 0.01 and eps 1e-4, a cosine over all steps.
        """
        import torch
        from torch.nn.functional import cross_entropy, layer_norm

        place = np.full(len(self.support_), len(present))
        place[present] = np.arange(len(present))
        places, truth = torch.from_numpy(place), torch.from_numpy(labels)
        second = torch.from_numpy(required_second_rows(features, adapter="AMU").copy())
        head = torch.from_numpy(means.astype(np.float32)).requires_grad_()
        cosines = cosine_logits(features.image, self.prototypes_, self.logit_scale)
        zero_shot = torch.from_numpy(cosines.astype(np.float32))
        strength = torch.from_numpy((self.training_alpha * self._kappa(cosines)).astype(np.float32))
        unbiased = (1 - 1 / len(place)) ** 0.5  # layer_norm divides by c, `standardised` by c - 1

        def loss(batch: Integers) -> "Tensor":
            rows = torch.from_numpy(batch)
            outputs = second[rows] @ head.T
            if len(present) < len(place):
                outputs = torch.cat([outputs, outputs.mean(dim=1, keepdim=True)], dim=1)[:, places]
            z = unbiased * layer_norm(outputs, [len(place)], eps=LEAST_SPREAD**2)
            picked = truth[rows]
            fused = cross_entropy(zero_shot[rows] + strength[rows] * z, picked)
            value: Tensor = self.fused_share * fused + (1 - self.fused_share) * cross_entropy(z, picked)
            return value

        keys = row_keys(np.concatenate([features.image, required_second_rows(features, adapter="AMU")], axis=1))
        batches = list(epoch_batches(keys, batch_size=self.batch_size, epochs=self.epochs, seed=self.seed))
        rule = Schedule(learning_rate=self.learning_rate, weight_decay=0.01, eps=1e-4)
        minimise([head], loss, batches, rule=rule)
        weight = head.detach().numpy().astype(np.float64)
        return np.asarray(np.vstack([weight, weight.mean(axis=0)])[place])

    def _logits(self, features: Features) -> Floats:
        zero_shot, evidence = self._parts(features)
        return np.asarray(zero_shot + self.alpha * evidence)

    def _parts(self, features: Features) -> tuple[Floats, Floats]:
        second = required_second_rows(features, adapter="AMU", dimension=self.weight_.shape[1])
        zero_shot = cosine_logits(features.image, self.prototypes_, self.logit_scale)
        return zero_shot, self._kappa(zero_shot) * standardised(affine(second, self.weight_))

    def _kappa(self, zero_shot: Floats) -> Floats:
        return fusion_strength(zero_shot, kind=self.uncertainty, rho=self.rho, moment_scale=float(self.moment_[0]))

    def _mean_moment(self, features: Features) -> Floats:
        moments = fourth_moment(softmax(cosine_logits(features.image, self.prototypes_, self.logit_scale)))
        return np.array([moments.mean()])


def standardised(outputs: Floats) -> Floats:
    """`outputs` (m, c) minus their mean over the classes, over their standard deviation (c - 1 in the divisor).

    Zero in a row whose outputs are all equal.
    """
    centred = outputs - outputs.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centred).sum(axis=1, keepdims=True) / max(outputs.shape[1] - 1, 1))
    return np.asarray(centred / np.maximum(spread, LEAST_SPREAD))


def fourth_moment(probabilities: Floats) -> Floats:
    """Mean over the classes of the fourth power of the standardised probabilities: (m, 1), about 3 if they are normal.

    Lies in ((c-1)/c)^2, which is two equal halves, to about c, which is one certain class.
    """
    c = probabilities.shape[1]
    least = max((c - 1) / c, 0.5) ** 2
    return np.asarray(np.maximum((standardised(probabilities) ** 4).mean(axis=1, keepdims=True), least))


def fusion_strength(zero_shot: Floats, *, kind: Uncertainty, rho: float, moment_scale: float) -> Floats:
    """The factor kappa (m, 1), above 0, of rows of zero-shot logits (m, c): large where they are unsure."""
    probabilities = softmax(zero_shot)
    if kind == "moment":
        return np.asarray((fourth_moment(probabilities) / moment_scale) ** -rho)
    if kind == "maximum":
        return np.asarray(probabilities.max(axis=1, keepdims=True) ** -rho)
    if kind == "entropy":
        surprise = -np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
        entropy = (probabilities * surprise).sum(axis=1, keepdims=True)
        return np.asarray(np.exp(rho * entropy / np.log(max(zero_shot.shape[1], 2))))
    return np.ones((len(zero_shot), 1))


def required_second_rows(features: Features, *, adapter: str, dimension: int | None = None) -> Floats:
    """The rows (n, e) of the second backbone that an adapter needs; an error without them or of another e."""
    features.require("second", adapter=adapter)
    second = np.empty((0, 0), np.float32) if features.second is None else features.second  # None is refused above
    if dimension is not None and second.shape[1] != dimension:
        raise InvalidFeaturesError(
            f"`second` must have dimension {dimension}, as at `fit`; got {second.shape[1]}. "
            "Extract these images with the second backbone of the fit."
        )
    return second
