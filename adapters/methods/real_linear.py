"""REAL-Linear: a head that starts from the texts, trained on images and texts together, averaged with its start."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evenly.adapters.contract import Adapter, Grid, affine, check_positive
from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.zero_shot import cosine_logits, scaled
from evenly.adapters.training import Schedule, endless_batches, minimise, row_keys

if TYPE_CHECKING:
    from torch import Tensor

MOST_STEPS = 32_000
WARMUP_STEPS = 50


@dataclass(kw_only=True, eq=False)
class RealLinear(Adapter):
    """logits = `logit_scale` * ((1 - `wise`) T + `wise` W) x (Parashar et al., CVPR 2024, arXiv:2401.12425).

    W starts as T. Each step takes `batch_size` images and as many texts of `class_texts`; the cross-entropy is on
    `logit_scale` * W x. min(32,000, 10 n / 32) steps for n images; AdamW, weight decay 0.01, 50 warm-up steps, the
    first at a tenth of the rate, then a cosine over as many steps as there are in all (`Schedule`). W is the sum T +
    `shift_`. `wise` 0 is zero-shot exactly, 1 the trained head, beyond 1 extrapolates.

    Differs from the paper: batches run on from one pass into the next, so that fewer than 32 texts or images still
    give batches; without class texts the prototypes are the texts; the warm-up takes at most half of the steps; the
    rate and `wise` may be searched on validation (the paper searches nothing). No images: zero-shot.
    """

    grid: ClassVar[Grid] = Grid(
        parameters={"learning_rate": (1e-4, 1e-3, 1e-2), "wise": (0.5, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0)}
    )
    decided_late: ClassVar[tuple[str, ...]] = ("wise",)

    wise: float = 0.5
    learning_rate: float = 1e-4
    batch_size: int = 32
    seed: int = 0

    shift_: Floats = field(init=False, repr=False)

    def sweep(self, features: Features, points: Sequence[Mapping[str, Any]]) -> Iterator[Floats]:
        """Logits at each `wise`, from one product with the features."""
        self._check_fitted_on(features)
        zero_shot = cosine_logits(features.image, self.prototypes_, self.logit_scale)
        evidence = affine(features.image, self.logit_scale * self.shift_)
        for point in points:
            wise = {"wise": self.wise, **point}["wise"]
            yield (zero_shot + wise * evidence).astype(np.float32)

    def affine_form(self) -> tuple[Floats, Floats]:
        """The averaged head, scaled, and no bias."""
        head = scaled(self.prototypes_, self.logit_scale) + self.wise * self.logit_scale * self.shift_
        return head, np.zeros(len(head))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("wise", self.wise, or_zero=True)
        check_positive("learning_rate", self.learning_rate)
        check_positive("batch_size", self.batch_size, integer=True)

    def _learn(self, features: Features, labels: Integers) -> None:
        self.shift_ = np.zeros(self.prototypes_.shape)
        if not len(features):
            self.fallback_ = "zero-shot: no support rows"
            return
        texts, text_labels = self._texts(features)
        rows = np.concatenate([features.image, texts])
        head = self._trained(rows, np.concatenate([labels, text_labels]), self._batches(features.image, texts))
        self.shift_ = head.astype(np.float64) - self.prototypes_.astype(np.float64)

    def _texts(self, features: Features) -> tuple[Floats, Integers]:
        """The labelled texts; the prototypes where there are none."""
        if features.class_texts is None or not len(features.class_texts):
            return self.prototypes_, np.arange(len(self.prototypes_))
        if features.class_text_labels is None or len(features.class_text_labels) != len(features.class_texts):
            raise MissingFeaturesError(
                "`class_text_labels` must say the class of each of `class_texts`; got none. Hand them in as well."
            )
        return features.class_texts, features.class_text_labels

    def _batches(self, images: Floats, texts: Floats) -> list[Integers]:
        """Positions in images and texts one after the other: as many of each in a batch."""
        steps = training_steps(len(images))
        of_images = endless_batches(row_keys(images), batch_size=self.batch_size, seed=self.seed)
        of_texts = endless_batches(row_keys(texts), batch_size=self.batch_size, seed=self.seed)
        return [
            np.concatenate([some_images, len(images) + some_texts])
            for _, some_images, some_texts in zip(range(steps), of_images, of_texts, strict=False)
        ]

    def _trained(self, rows: Floats, labels: Integers, batches: Sequence[Integers]) -> Floats:
        """The head (c, d), float32, trained from the prototypes on `rows` (n, d) of images and texts."""
        import torch
        from torch.nn.functional import cross_entropy

        inputs, truth = torch.from_numpy(rows), torch.from_numpy(labels)
        head = torch.from_numpy(self.prototypes_.copy()).requires_grad_()

        def loss(batch: Integers) -> "Tensor":
            picked = torch.from_numpy(batch)
            return cross_entropy(self.logit_scale * (inputs[picked] @ head.T), truth[picked])

        rule = Schedule(
            learning_rate=self.learning_rate,
            weight_decay=0.01,
            warmup_steps=min(WARMUP_STEPS, len(batches) // 2),
            warmup_rate=self.learning_rate / 10,
        )
        minimise([head], loss, batches, rule=rule)
        return np.asarray(head.detach().numpy())

    def _logits(self, features: Features) -> Floats:
        zero_shot = cosine_logits(features.image, self.prototypes_, self.logit_scale)
        return np.asarray(zero_shot + self.wise * affine(features.image, self.logit_scale * self.shift_))


def training_steps(images: int) -> int:
    """Steps for so many images, at least one: 10 passes in batches of 32, at most 32,000."""
    return max(min(MOST_STEPS, images * 10 // 32), 1)
