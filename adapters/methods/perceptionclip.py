"""PerceptionCLIP: infer what the picture is like, then what is in it given that."""

from dataclasses import dataclass, field
from typing import ClassVar, cast

import numpy as np

from evenly.adapters.contract import Adapter, LogitKind, check_positive
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.zero_shot import cosine_logits, scaled

BLOCK_ROWS = 128
"""Rows whose scores are made at a time: with 1 MB of float64 per 1000 classes all but the product is nearly free."""
LEAST = float(np.finfo(np.float64).tiny)
"""Least probability of a class, so that its logarithm is finite."""


@dataclass(kw_only=True, eq=False)
class PerceptionCLIP(Adapter):
    """Logarithm of p(y|x) = sum over contexts z of p(z|x) p(y|x, z) (An et al., ICLR 2024, arXiv:2308.01313).

    f(y, z) is `logit_scale` times the cosine with `context_prototypes` of class y in context z (background, lighting,
    style; each the normalised mean over its wordings). Step 1: p(z|x) is the sum over y of exp(f / `temperature`),
    normalised over z. Step 2: p(y|x, z) is the softmax over y of f. Every exponential is taken below the largest of
    its row (the published code takes raw ones, which overflow); a p(y|x) under 2e-308 counts as that. Left out: step 1
    on texts without a class ("a photo of an object, ..."), for which the record has no field. No contexts: zero-shot. A
    single context that equals the prototypes changes no prediction. Images and labels of the support are not used.
    """

    needs: ClassVar[tuple[str, ...]] = ("prototypes", "context_prototypes")
    learns_from: ClassVar[tuple[str, ...]] = ("context_prototypes",)

    temperature: float = 3.0

    contexts_: Floats = field(init=False, repr=False)

    def logit_kind(self) -> LogitKind:
        """Logarithms of mixed probabilities, but for zero-shot without contexts."""
        return "log-probabilities" if len(self.contexts_) else super().logit_kind()

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("temperature", self.temperature)

    def _learn(self, features: Features, labels: Integers) -> None:  # noqa: ARG002 - texts are all
        self.contexts_ = cast("Floats", features.context_prototypes).copy()  # `needs` names them
        if not len(self.contexts_):
            self.fallback_ = "zero-shot: no contexts"

    def _logits(self, features: Features) -> Floats:
        if not len(self.contexts_):
            return cosine_logits(features.image, self.prototypes_, self.logit_scale)
        image = features.image.astype(np.float64)
        joint = np.zeros((len(image), len(self.prototypes_)))
        total, most = np.zeros((len(image), 1)), np.full((len(image), 1), -np.inf)
        for context in self.contexts_:  # one at a time: (m, z, c) numbers would not fit
            weight = scaled(context, self.logit_scale)
            for start in range(0, len(image), BLOCK_ROWS):
                rows = slice(start, start + BLOCK_ROWS)
                self._add(image[rows] @ weight.T, joint[rows], total[rows], most[rows])
        return np.asarray(np.log(np.maximum(joint, LEAST)) - np.log(total))

    def _add(self, scores: Floats, joint: Floats, total: Floats, most: Floats) -> None:
        """Add a context's p(z|x) p(y|x, z) to `joint` (m, c) and p(z|x) to `total` (m, 1), both over exp of `most`.

        `most` (m, 1) is the largest weight of a context so far: what was added is scaled down where it grows.
        """
        weight = self._weight(scores)
        higher = np.maximum(most, weight)
        rescale, share = np.exp(most - higher), np.exp(weight - higher)
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores *= share / scores.sum(axis=1, keepdims=True)
        joint *= rescale
        joint += scores
        total *= rescale
        total += share
        most[...] = higher

    def _weight(self, scores: Floats) -> Floats:
        """Logarithm of the sum over classes of exp(f / temperature) (m, 1)."""
        return _log_sum(scores / self.temperature)


def _log_sum(values: Floats) -> Floats:
    """Logarithm of the sum of the exponentials of each row (m, 1)."""
    most = values.max(axis=1, keepdims=True)
    return np.asarray(most + np.log(np.exp(values - most).sum(axis=1, keepdims=True)))
