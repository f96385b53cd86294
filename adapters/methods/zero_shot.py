"""Zero-shot classification: the cosine of image and class text, scaled."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenly.adapters.contract import Adapter, affine
from evenly.adapters.features import Features, Floats, Integers


@dataclass(kw_only=True, eq=False)
class ZeroShot(Adapter):
    """logits = `logit_scale` * x T^T (Radford et al. 2021, arXiv:2103.00020), scale fixed at 100.

    Names, descriptions and synonyms are one method with other prototypes: T_c is the normalised mean of the
    normalised text features of a class. `fit` takes the prototypes and learns nothing from the images.
    """

    learns_from: ClassVar[tuple[str, ...]] = ()

    def affine_form(self) -> tuple[Floats, Floats]:
        """The scaled prototypes, and no bias."""
        return scaled(self.prototypes_, self.logit_scale), np.zeros(len(self.prototypes_))

    def _learn(self, features: Features, labels: Integers) -> None:
        """Nothing: the prototypes are all."""

    def _logits(self, features: Features) -> Floats:
        return cosine_logits(features.image, self.prototypes_, self.logit_scale)


def cosine_logits(image: Floats, prototypes: Floats, logit_scale: float) -> Floats:
    """`logit_scale` times the cosine of each image (m, d) and each prototype (c, d): float64 (m, c)."""
    return affine(image, scaled(prototypes, logit_scale))


def scaled(prototypes: Floats, logit_scale: float) -> Floats:
    """The zero-shot weights (c, d), float64."""
    return np.asarray(logit_scale * prototypes.astype(np.float64))
