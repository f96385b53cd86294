"""Parts of an encoder's towers that train: the weights of blocks, or the singular values of their matrices alone."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from evenly.features.encoder import Encoder, OpenClipEncoder
from evenly.features.errors import RowsError, UnknownModelError
from evenly.features.refining.heads import SIDES
from evenly.features.refining.refinement import STRENGTHS
from evenly.features.torch_session import torch_session

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BLOCKS = {
    "image": ("visual.transformer.resblocks", "visual.trunk.blocks"),
    "text": (
        "text.transformer.resblocks", "transformer.resblocks", "text.transformer.encoder.layer",
        "text.transformer.encoder.block", "text.transformer.layers",
    ),
}  # fmt: skip
"""Where the blocks of a tower lie: of open_clip, of timm, and of kinds of transformers."""
_TOWERS = {"image": ("visual.trunk", "visual"), "text": ("text.transformer", "text", "transformer")}
_THREE_IN_ONE = (".in_proj_weight", ".qkv.weight")
"""Ends of names of matrices that hold those of queries, keys and values."""


class TunedTowers(ABC):
    """Parameters of the towers of an encoder, `base`, that train, or values that change such: by their names.

    kind: the word by which a file of it is known. strengths: the shares of what was trained that can be added. sides:
    the towers that it changes. encoder: what makes rows of the changed weights; `base`, unless it says otherwise.
    """

    kind: ClassVar[str]
    strengths: ClassVar[tuple[float, ...]] = STRENGTHS
    base: OpenClipEncoder
    encoder: OpenClipEncoder
    sides: tuple[str, ...]

    @abstractmethod
    def __init__(self, base: OpenClipEncoder, names: Sequence[str], *, seed: int = 0) -> None: ...

    @classmethod
    @abstractmethod
    def names(cls, model: "torch.nn.Module", count: int, sides: Sequence[str]) -> list[str]:
        """Names of the parameters, for `count` blocks. Raises UnknownModelError as `tower_blocks` does."""

    @abstractmethod
    def start(self) -> "dict[str, Tensor]":
        """The values before training, in single precision."""

    @abstractmethod
    def changed(self, values: "Mapping[str, Tensor]", strength: float = 1.0) -> "dict[str, Tensor]":
        """The weights of the encoder's model that such values change, by their names."""


class Blocks(TunedTowers):
    """A weight w becomes w + strength * delta: all weights of the last blocks."""

    kind = "towers"

    def __init__(self, base: OpenClipEncoder, names: Sequence[str], *, seed: int = 0) -> None:
        """Raises RowsError for a name that the model of `base` lacks."""
        del seed
        weights = dict(base.opened.model.named_parameters())
        if alien := sorted(set(names) - set(weights)):
            raise RowsError(f"`refine` must be of the encoder's model, which has no `{alien[0]}`. Name the right one.")
        self.base = self.encoder = base
        self.weights: dict[str, Tensor] = {name: weights[name].detach() for name in names}
        self.sides = tuple(side for side in SIDES if any(side_of(name) == side for name in names))

    @classmethod
    def names(cls, model: "torch.nn.Module", count: int, sides: Sequence[str]) -> list[str]:
        """Parameters of the last `count` blocks."""
        return [
            f"{place}.{name}"
            for side in sides
            for place, block in tower_blocks(model, side, count)[-count:]
            for name, _ in block.named_parameters()
        ]

    def start(self) -> "dict[str, Tensor]":
        """Zeros."""
        import torch

        return {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in self.weights.items()}

    def changed(self, values: "Mapping[str, Tensor]", strength: float = 1.0) -> "dict[str, Tensor]":
        """The deltas added."""
        return {name: _added(weight, values[name], strength) for name, weight in self.weights.items()}


class SingularValues(Blocks):
    """A matrix W = U diag(S) V^T of attention or MLP becomes W + strength * U diag(s) V^T: CLIP-SVD, arXiv:2509.03740.

    The values s are kept, and U and V are found again. Queries, keys and values that lie in one matrix are three, as in
    the public code, HealthX-Lab/CLIP-SVD. That puts U diag(S + s) V^T in the place of W, cut to a rank that is a
    multiple of 4; here what it cuts stays.
    """

    kind = "singular"

    def __init__(self, base: OpenClipEncoder, names: Sequence[str], *, seed: int = 0) -> None:
        import torch

        super().__init__(base, names, seed=seed)
        with torch_session():  # by more threads vectors may differ
            parts = {name: torch.linalg.svd(_parted(name, w).double(), False) for name, w in self.weights.items()}
        self._vectors = {name: (left.float(), right.float()) for name, (left, _, right) in parts.items()}

    @classmethod
    def names(cls, model: "torch.nn.Module", count: int, sides: Sequence[str]) -> list[str]:
        """The matrices of the last `count` blocks, but for tables of embeddings."""
        from torch.nn import Embedding

        weights, modules = dict(model.named_parameters()), dict(model.named_modules())
        return [
            name
            for name in super().names(model, count, sides)
            if weights[name].ndim == 2 and not isinstance(modules[name.rpartition(".")[0]], Embedding)
        ]

    def start(self) -> "dict[str, Tensor]":
        """Zeros, (r,) for each matrix; (3, r) for three in one."""
        return {name: right.new_zeros(right.shape[:-1]) for name, (_, right) in self._vectors.items()}

    def changed(self, values: "Mapping[str, Tensor]", strength: float = 1.0) -> "dict[str, Tensor]":
        """U diag(s) V^T added."""
        products = {
            name: ((left * values[name].unsqueeze(-2)) @ right).reshape(self.weights[name].shape)
            for name, (left, right) in self._vectors.items()
        }
        return super().changed(products, strength)


def tuned_towers(
    encoder: Encoder, kind: type[TunedTowers], blocks: int, side: str = "both", *, seed: int = 0
) -> TunedTowers:
    """The parts that train of `blocks` of one tower of an encoder, or of both; all its weights are frozen.

    Raises UnknownModelError for an encoder that is not of open_clip, and for a tower that has no such blocks.
    """
    if not isinstance(encoder, OpenClipEncoder):
        raise UnknownModelError(f"`towers` must be of an open_clip model; got {type(encoder).__name__}. Train heads.")
    model = encoder.opened.model
    model.requires_grad_(requires_grad=False)
    sides = SIDES if side == "both" else (side,)
    return kind(encoder, kind.names(model, blocks, sides), seed=seed)


def shared_copy(model: Any) -> Any:  # noqa: ANN401 - of open_clip, which has no types
    """A copy of a module that shares its parameters and buffers."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def tower_blocks(model: "torch.nn.Module", side: str, count: int) -> "list[tuple[str, torch.nn.Module]]":
    """The blocks of a tower, by their names in the model.

    Raises UnknownModelError for a tower without blocks that attend, or with fewer than `count`, and says what it has.
    """
    place, blocks = _transformer_blocks(model, _BLOCKS[side])
    if len(blocks) < count or not blocks:
        raise UnknownModelError(
            f"`towers` must be at most the transformer blocks of the {side} tower; got {count}, of "
            f"{f'{len(blocks)} in {place}' if blocks else f'a tower without: {_parts(model, side)}'}. "
            "Take fewer, one tower alone (`side`), another model, or heads (without `towers`)."
        )
    return [(f"{place}.{number}", block) for number, block in enumerate(blocks)]


def side_of(name: str) -> str:
    """The tower that a part of a model is of."""
    return "image" if name.startswith("visual.") else "text"


def _parted(name: str, weight: "Tensor") -> "Tensor":
    """A matrix, or three (3, m, n) that lie in one."""
    return weight.reshape(3, -1, weight.shape[1]) if name.endswith(_THREE_IN_ONE) else weight


def _added(weight: "Tensor", delta: "Tensor", strength: float) -> "Tensor":
    return (weight.float() + strength * delta).to(weight.dtype)


def _transformer_blocks(model: "torch.nn.Module", places: Sequence[str]) -> "tuple[str, list[torch.nn.Module]]":
    modules = dict(model.named_modules())
    for place in places:
        blocks = list(modules[place].children()) if place in modules else []
        if blocks and all(_attends(block) for block in blocks):
            return place, blocks
    return "", []


def _attends(block: "torch.nn.Module") -> bool:
    return any("attn" in name or "attention" in name.lower() for name, _ in block.named_modules())


def _parts(model: "torch.nn.Module", side: str) -> str:
    modules = dict(model.named_modules())
    tower = next(modules[place] for place in _TOWERS[side] if place in modules)
    return f"{type(tower).__name__} with {', '.join(name for name, _ in tower.named_children())}"
