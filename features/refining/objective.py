"""What an objective is given, and the losses that several of them are made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from evenly.features.refining.pairs import PairRows

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """Rows (b, d) of the pictures and of the texts of a batch, not normalised."""

    image: "Tensor"
    text: "Tensor"

    def unit(self) -> "Sides":
        """At length 1."""
        from torch.nn.functional import normalize

        return Sides(image=normalize(self.image, dim=1), text=normalize(self.text, dim=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Pairs of a batch by their `places` (b,) among all `pairs`, and what their losses may use.

    negatives: (b, b) of booleans, whether text j may count against picture i, and picture j against text i. progress:
    how far training is, 0 to 1. generator: for draws, seeded by the batch.
    """

    places: npt.NDArray[np.int64]
    pairs: PairRows
    negatives: "Tensor"
    progress: float
    generator: "torch.Generator"


class Objective(ABC):
    """A loss over pairs. Its parameters are keywords of its constructor, with defaults.

    uses_negatives: whether it sets pairs of a batch against each other, so that a sampler changes it.
    """

    uses_negatives: bool = False

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Look at all pairs once, before the first batch: clusters, classes. Nothing, unless it says otherwise."""
        del pairs, seed

    def trained(self) -> "Mapping[str, Tensor]":
        """What it trains beside the encoder, by name, such as a decoder; made by `prepare`."""
        return {}

    @abstractmethod
    def loss(self, batch: Batch, now: Sides, before: Sides) -> "Tensor":
        """The loss of a batch, of rows by the refined and by the frozen encoder."""


class Sampler(Protocol):
    """Which pairs of a batch count against each other."""

    def negatives(self, allowed: "Tensor", before: Sides) -> "Tensor":
        """Those (b, b) of the allowed ones that are left, by rows of the frozen encoder."""
        ...


def info_nce(now: Sides, negatives: "Tensor", *, temperature: float) -> "Tensor":
    """The mean of both directions' cross-entropies of the own pair against the negatives, by cosines."""
    unit = now.unit()
    return _half(unit.image @ unit.text.T / temperature, negatives) + _half(
        unit.text @ unit.image.T / temperature, negatives.T
    )


def _half(logits: "Tensor", negatives: "Tensor") -> "Tensor":
    counted = negatives.clone().fill_diagonal_(True)
    loss: Tensor = 0.5 * (logits.masked_fill(~counted, float("-inf")).logsumexp(1) - logits.diagonal()).mean()
    return loss


def codes(names: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """A number for each different name."""
    return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)
