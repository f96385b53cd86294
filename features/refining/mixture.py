"""A mixture of heads with a router: CLIP-MoE, Zhang et al. 2024, arXiv:2409.19291, on frozen rows.

The paper turns each feed-forward layer of CLIP into experts, trained one after another on pairs of clusters, then
trains the router. Here an expert is a small residual head, and all are trained at once: they begin alike, and the
router at the centres of clusters of the pairs, so that each first sees a cluster's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError
from evenly.features.refining.heads import SIDES, check_array, in_blocks, read_refinement, refinement_bytes
from evenly.features.refining.objective import Sides
from evenly.features.refining.pairs import Names, PairRows
from evenly.features.refining.refinement import Arrays, Trainable
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from torch import Tensor

KIND = "mixture"
VERSION = 2
"""Raised when the same pairs would now give another mixture. Of 1 the loss of balance was half, and alike for texts."""
_PARTS = ("down", "up", "router", "bias")
_TOP = 2
_BALANCED = {"image": 1.0, "text": 0.5}
"""What the loss of balance of each side counts, as in the public code."""
_SHARPNESS = 16.0
"""What cosines to the centres are multiplied with at the start."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadMixture:
    """A row x becomes x + strength * sum of g_e x down_e up_e over the two experts that the router gives the most.

    weights: of each side `down` (e, d, r), `up` (e, r, d), and the router's `router` (d, e) and `bias` (e,), which
    takes rows of length 1. g is the softmax over the two.
    """

    weights: Arrays
    strength: float = 1.0

    @property
    def dimension(self) -> int:
        """The columns d of rows that they take."""
        return int(self.weights["image_router"].shape[0])

    def at(self, strength: float) -> "HeadMixture":
        """The same at another strength."""
        return HeadMixture(weights=self.weights, strength=strength)

    def image(self, rows: Single, _uids: Names | None = None) -> Single:
        """Rows (n, d) of pictures, refined; each has the same bits whatever it is refined with."""
        return self._added(rows, "image")

    def text(self, rows: Single, _texts: Names | None = None) -> Single:
        """Rows (n, d) of texts, refined; each has the same bits whatever it is refined with."""
        return self._added(rows, "text")

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        return refinement_bytes(self.weights, self.strength, kind=KIND)

    @classmethod
    def from_bytes(cls, data: bytes) -> "HeadMixture":
        """Read the bytes of `to_bytes`. Raises RowsError for any others."""
        arrays, strength, _ = read_refinement(data)
        _check(arrays)
        return cls(weights=arrays, strength=strength)

    def _added(self, rows: Single, side: str) -> Single:
        down, up, router, bias = (self.weights[f"{side}_{part}"].astype(np.float64) for part in _PARTS)

        def refined(block: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            unit = block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-12)
            logits = unit @ router + bias
            first = np.argsort(-logits, axis=1, kind="stable")[:, :_TOP]
            top = np.take_along_axis(logits, first, axis=1)
            shares = np.exp(top - top.max(axis=1, keepdims=True))
            shares *= self.strength / shares.sum(axis=1, keepdims=True)
            gates = np.zeros_like(logits)
            np.put_along_axis(gates, first, shares, axis=1)
            experts = range(len(down))
            added: npt.NDArray[np.float64] = sum(gates[:, e : e + 1] * (block @ down[e] @ up[e]) for e in experts)
            return block + added

        return in_blocks(rows, self.dimension, refined)


class MixtureTraining(Trainable):
    """Experts that begin alike, of `rank` over their number each, and a router that begins at clusters of the pairs.

    Clusters are by k-means on the frozen rows of pictures; a text's centres are the means of the clusters' texts.
    balance_weight: of a loss that is least where all experts are taken equally often.
    """

    def __init__(self, pairs: PairRows, rank: int, *, experts: int, seed: int, balance_weight: float = 0.01) -> None:
        if experts < _TOP or rank < experts:
            raise RowsError(
                f"`experts` must be from {_TOP} to the rank, {rank}, which they share; got {experts}. Take fewer, or a "
                "higher rank."
            )
        self.experts, self.balance_weight = experts, balance_weight
        generator = np.random.Generator(np.random.Philox(key=seed))
        dimension, expert_rank = pairs.image.shape[1], rank // experts
        labels = _clusters(_unit(pairs.image), experts, seed=seed)
        self._start: dict[str, npt.NDArray[np.float32]] = {}
        for side in SIDES:
            down = (generator.normal(size=(dimension, expert_rank)) / np.sqrt(dimension)).astype(np.float32)
            rows = _unit(getattr(pairs, side)).astype(np.float64)
            mean = rows.mean(axis=0)
            centres = np.stack([rows[labels == label].mean(axis=0) for label in range(experts)]) - mean
            router = _SHARPNESS * _unit(centres).T
            self._start |= {
                f"{side}_down": np.repeat(down[None], experts, axis=0),
                f"{side}_up": np.zeros((experts, expert_rank, dimension), np.float32),
                f"{side}_router": np.ascontiguousarray(router, np.float32),
                f"{side}_bias": (-mean @ router).astype(np.float32),
            }

    def start(self) -> "dict[str, Tensor]":
        """Experts that change nothing yet."""
        import torch

        return {name: torch.from_numpy(values.copy()) for name, values in self._start.items()}

    def rows(self, parameters: "Mapping[str, Tensor]", original: Sides, inputs: Any) -> Sides:  # noqa: ANN401
        """Of the frozen rows alone."""
        del inputs
        return Sides(**{side: self._side(parameters, getattr(original, side), side) for side in SIDES})

    def texts(self, parameters: "Mapping[str, Tensor]", rows: "Tensor", names: Names | None = None) -> "Tensor":
        """Of the frozen rows alone."""
        del names
        return self._side(parameters, rows, "text")

    def penalty(self, parameters: "Mapping[str, Tensor]", original: Sides) -> "Tensor | float":
        """balance_weight x experts x the sum of share taken x mean probability, of pictures and half of it of texts."""
        import torch

        unit = original.unit()
        loss = torch.zeros(())
        for side, weight in _BALANCED.items():
            logits = _logits(parameters, getattr(unit, side), side)
            chosen = torch.zeros_like(logits).scatter_(1, logits.topk(_TOP, dim=1).indices, 1.0)
            loss = loss + weight * self.experts * (chosen.mean(0) * logits.softmax(1).mean(0)).sum()
        return self.balance_weight * loss

    def refinement(self, arrays: Arrays) -> HeadMixture:
        """A mixture of them."""
        return HeadMixture(weights={name: arrays[name] for name in self._start})

    def _side(self, parameters: "Mapping[str, Tensor]", rows: "Tensor", side: str) -> "Tensor":
        import torch
        from torch.nn.functional import normalize

        logits = _logits(parameters, normalize(rows, dim=1), side)
        top, experts = logits.topk(_TOP, dim=1)
        gates = torch.zeros_like(logits).scatter(1, experts, top.softmax(1))
        added = torch.einsum("bd,edr,erf->bef", rows, parameters[f"{side}_down"], parameters[f"{side}_up"])
        return rows + (gates[:, :, None] * added).sum(1)


def _logits(parameters: "Mapping[str, Tensor]", unit: "Tensor", side: str) -> "Tensor":
    return unit @ parameters[f"{side}_router"] + parameters[f"{side}_bias"]


def _unit(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    result: npt.NDArray[Any] = rows / np.maximum(lengths, 1e-12)
    return result


def _clusters(rows: npt.NDArray[np.float32], count: int, *, seed: int) -> npt.NDArray[np.int64]:
    """The cluster of each row; each has some."""
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1), warnings.catch_warnings():  # sums over threads come in another order each time
        warnings.simplefilter("ignore", ConvergenceWarning)  # of too few clusters, which is said below
        fitted = KMeans(n_clusters=count, random_state=seed, n_init=1).fit(rows)
    if len(np.unique(fitted.labels_)) < count:
        raise RowsError(f"`experts` must be at most the clusters that pictures have; got {count}. Take fewer.")
    return np.asarray(fitted.labels_, np.int64)


def _check(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise RowsError unless they are the arrays of a mixture, finite and of shapes that fit."""
    names = [f"{side}_{part}" for side in SIDES for part in _PARTS]
    down = arrays.get("image_down")
    if set(arrays) != set(names) or down is None or down.ndim != 3:
        raise RowsError(f"`refine` must hold {', '.join(names)}; got {', '.join(sorted(arrays))}. Refine again.")
    e, d, r = down.shape
    shapes: dict[str, tuple[int, ...]] = {"down": (e, d, r), "up": (e, r, d), "router": (d, e), "bias": (e,)}
    for name, values in arrays.items():
        check_array(name, values, shapes[name.partition("_")[2]])
    if e < _TOP:
        raise RowsError(f"`refine` must hold at least {_TOP} experts; got {e}. Refine again.")
