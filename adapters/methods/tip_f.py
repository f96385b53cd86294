"""Tip-Adapter-F: the keys of Tip-Adapter's cache, trained."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evenly.adapters.contract import Grid, check_positive
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.cache_adapter import CacheAdapter
from evenly.adapters.forms.key_cache import class_order, mean_rows
from evenly.adapters.methods.tip import published_grid
from evenly.adapters.methods.zero_shot import scaled
from evenly.adapters.training import Schedule, epoch_batches, minimise, row_keys

if TYPE_CHECKING:
    from torch import Tensor

PUBLISHED_INITIAL_ALPHA: dict[str, float] = {
    "caltech101": 3.0,
    "dtd": 2.0,
    "eurosat": 2.0,
    "fgvc_aircraft": 5.0,
    "food101": 1.17,
    "imagenet": 1.17,
    "oxford_flowers": 10.0,
    "oxford_pets": 1.17,
    "stanford_cars": 3.0,
    "sun397": 1.17,
    "ucf101": 3.0,
}
"""The alpha at which the keys are trained, per data set; EuroSAT also takes 100 epochs."""


@dataclass(kw_only=True, eq=False)
class TipF(CacheAdapter):
    """Tip-Adapter with trained keys (Zhang et al., ECCV 2022, arXiv:2207.09519), then its search of alpha and beta.

    Keys start as Tip's and are trained by cross-entropy on the logits at `initial_alpha` and `initial_beta`; texts and
    classes stay. AdamW, decay 0.01, cosine per step, batch 256, 20 epochs. `alpha` and `beta` act after `fit`. Trained
    keys are not of unit length. Differs from the published code: fp32 with AdamW's own eps of 1e-8 (1e-4 is needed in
    fp16 only); the last epoch is taken, not the best one on test; the rows of epoch e are view e modulo v where
    `views` (v, n, d) are given, else the images, where the published one draws new views at each step: expect it to
    overfit sooner. 0 epochs are Tip. No support rows: zero-shot, said in `fallback_`.
    """

    grid: ClassVar[Grid] = published_grid()

    initial_alpha: float = 1.17
    initial_beta: float = 1.0
    epochs: int = 20
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("initial_alpha", self.initial_alpha, or_zero=True)
        check_positive("initial_beta", self.initial_beta, or_zero=True)
        check_positive("epochs", self.epochs, integer=True, or_zero=True)
        check_positive("batch_size", self.batch_size, integer=True)
        check_positive("learning_rate", self.learning_rate)

    def _learn(self, features: Features, labels: Integers) -> None:
        keys = mean_rows(features)
        order = class_order(keys, labels)
        self.keys_, self.key_labels_ = keys[order], labels[order]
        self.fallback_ = "" if len(order) else "zero-shot: no support rows"
        if len(order) and self.epochs:
            self.keys_ = self._trained(features.rows(order))

    def _trained(self, features: Features) -> Floats:
        """The keys (k, d), float32, after training on the support in the order of the keys."""
        import torch
        from torch.nn.functional import cross_entropy

        rows, batches = self._batches(features)
        images = torch.tensor(rows)
        texts = torch.from_numpy(scaled(self.prototypes_, self.logit_scale).astype(np.float32))
        classes = torch.from_numpy(self.key_labels_)
        keys = torch.from_numpy(self.keys_.copy()).requires_grad_()

        def loss(batch: Integers) -> "Tensor":
            index = torch.from_numpy(batch)
            x = images[index]
            answers = torch.exp(self.initial_beta * (keys @ x.T - 1))
            cache = torch.zeros(len(texts), len(x)).index_add(0, classes, answers)
            return cross_entropy((texts @ x.T + self.initial_alpha * cache).T, classes[index % len(classes)])

        minimise([keys], loss, batches, rule=Schedule(learning_rate=self.learning_rate))
        return np.asarray(keys.detach().numpy())

    def _batches(self, features: Features) -> tuple[Floats, list[Integers]]:
        """Rows (v * n, d) to train on, view by view, and the batches: those of epoch e lie in view e modulo v."""
        views = features.image[None]
        if features.views is not None and len(features.views):
            views = features.views
        n = len(features)
        per_epoch = -(-n // self.batch_size)
        batches = epoch_batches(
            row_keys(features.image), batch_size=self.batch_size, epochs=self.epochs, seed=self.seed
        )
        return views.reshape(-1, views.shape[2]), [
            batch + n * (step // per_epoch % len(views)) for step, batch in enumerate(batches)
        ]
