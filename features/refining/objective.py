"""Inputs of objectives, and the losses that several of them are made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError
from evenly.features.refining.pairs import Names, PairRows, SharedRows

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
    """Pairs of a batch by their `places` (b,) among all `pairs`, and further inputs of losses.

    negatives: (b, b) of booleans, whether text j may count against picture i, and picture j against text i. progress:
    how far training is, 0 to 1. generator: for draws, seeded by the batch. refined: what the refined encoder makes of
    other rows of the frozen one. texts: the same of texts, by their frozen rows (m, d) and what they say (m,).
    """

    places: npt.NDArray[np.int64]
    pairs: PairRows
    negatives: "Tensor"
    progress: float
    generator: "torch.Generator"
    refined: Callable[[Sides], Sides]
    texts: "Callable[[Tensor, Names], Tensor]"


class Objective(ABC):
    """A loss over pairs. Its parameters are keywords of its constructor, with defaults.

    uses_negatives: whether it sets pairs of a batch against each other, so that a sampler changes it. needs: the fields
    of PairRows that it has to be given. learns_labels: whether labels of pairs are in its loss. reads_captions: whether
    captions are; where not, it is trained on labelled pairs alone, and class lists choose. is_taught: whether a fitted
    adapter, the teacher, gives the labels of train. gains: whether a table of
    docs/refining.md shows anything that it does better than `contrastive`. version: raised when the same pairs would
    now give other heads.
    """

    uses_negatives: bool = False
    needs: tuple[str, ...] = ()
    learns_labels: bool = False
    reads_captions: bool = True
    is_taught: bool = False
    gains: bool = True
    version: int = 1

    def prepare(self, pairs: PairRows, *, seed: int) -> None:
        """Look at all pairs once, before the first batch: clusters, classes. Nothing, unless it says otherwise."""
        del pairs, seed

    def trained(self) -> "Mapping[str, Tensor]":
        """Modules that are trained beside the encoder, by name, such as a decoder; made by `prepare`."""
        return {}

    @abstractmethod
    def loss(self, batch: Batch, refined: Sides, original: Sides) -> "Tensor":
        """The loss of a batch, of rows by the refined and by the frozen encoder."""


class Sampler(Protocol):
    """A choice of the pairs of a batch that count against each other. version: as of an Objective."""

    version: int

    def negatives(self, allowed: "Tensor", refined: Sides) -> "Tensor":
        """The allowed pairs (b, b) that are left, by rows of the refined encoder as it is."""
        ...


def info_nce(refined: Sides, negatives: "Tensor", *, temperature: float) -> "Tensor":
    """The mean of both directions' cross-entropies of the own pair against the negatives, by cosines."""
    unit = refined.unit()
    return (
        0.5 * own_column(unit.image @ unit.text.T / temperature, negatives).mean()
        + 0.5 * own_column(unit.text @ unit.image.T / temperature, negatives.T).mean()
    )


def own_column(logits: "Tensor", negatives: "Tensor") -> "Tensor":
    """The cross-entropy (b,) of each row's own column, on the diagonal, against its negatives (b, b)."""
    counted = negatives.clone().fill_diagonal_(True)
    return logits.masked_fill(~counted, float("-inf")).logsumexp(1) - logits.diagonal()


def check_needs(objective: Objective, pairs: PairRows) -> None:
    """Raise RowsError for pairs that lack a field which the objective needs."""
    for name in objective.needs:
        if getattr(pairs, name) is None:
            raise RowsError(f"`pairs` must have `{name}` for this objective; got None. Make all that it `needs`.")


def asked_for(shared: SharedRows | None) -> SharedRows:
    """Rows that `needs` names, which are there once `check_needs` has passed."""
    if shared is None:
        raise RowsError("`shared` must be rows that the objective needs; got None. Add the field to its `needs`.")
    return shared


def of_batch(shared: SharedRows | None, batch: Batch) -> tuple["Tensor", "Tensor"]:
    """The rows (b, k, ...) that the pairs of a batch have, and whether they are there (b, k)."""
    import torch

    rows, is_there = asked_for(shared)[batch.places].padded()
    return torch.from_numpy(rows), torch.from_numpy(is_there)


def drawn_row(shared: SharedRows | None, batch: Batch, *, weights: "Tensor | None" = None) -> tuple["Tensor", "Tensor"]:
    """One row (b, ...) of each pair of a batch, drawn by its generator, and whether the pair has any (b,).

    weights: (n, k) of all pairs, which need not add up to 1; else all rows of a pair are as likely.
    """
    import torch

    rows, is_there = of_batch(shared, batch)
    times = -torch.rand(is_there.shape, generator=batch.generator, dtype=torch.float64).log()
    if weights is not None:
        times = times / weights[batch.places]  # the first of exponential times is drawn by its rate
    chosen = times.masked_fill(~is_there, float("inf")).argmin(1)
    return rows[torch.arange(len(rows)), chosen], is_there.any(1)


def codes(names: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """A number for each different name."""
    return np.asarray(np.unique(names, return_inverse=True)[1], np.int64)
