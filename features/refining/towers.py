"""The last blocks of an open_clip model's towers, refined: what is added to their weights, trained through pixels."""

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from evenly.features.batched_rows import ahead, cut
from evenly.features.device import device_errors
from evenly.features.encoder import Encoder, OpenClipEncoder
from evenly.features.errors import RowsError, UnknownModelError
from evenly.features.refining.heads import check_array, read_refinement, refinement_bytes
from evenly.features.refining.objective import Sides
from evenly.features.refining.pairs import Names, PairRows, stored_rows
from evenly.features.refining.refinement import Arrays, Places, Trainable
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    import torch
    from torch import Tensor

KIND = "towers"
ReadPictures = Callable[[Sequence[str]], Sequence[bytes]]
"""The files of pictures, by uids of pairs."""
_AT_ONCE = 1024
_BLOCKS = {
    "image": ("visual.transformer.resblocks", "visual.trunk.blocks"),
    "text": (
        "text.transformer.resblocks", "transformer.resblocks", "text.transformer.encoder.layer",
        "text.transformer.encoder.block", "text.transformer.layers",
    ),
}  # fmt: skip
"""Where the blocks of a tower lie: of open_clip, of timm, and of kinds of transformers."""
_TOWERS = {"image": ("visual.trunk", "visual"), "text": ("text.transformer", "text", "transformer")}


def last_blocks(model: "torch.nn.Module", count: int) -> dict[str, "torch.nn.Parameter"]:
    """The parameters of the last `count` blocks of both towers, by their names in the model.

    Raises UnknownModelError for a tower that has no blocks with attention, or fewer, and names what it has.
    """
    parameters: dict[str, torch.nn.Parameter] = {}
    for side, places in _BLOCKS.items():
        place, blocks = _transformer_blocks(model, places)
        if len(blocks) < count or not blocks:
            raise UnknownModelError(
                f"`towers` must be at most the transformer blocks of the {side} tower; got {count}, of "
                f"{f'{len(blocks)} in {place}' if blocks else f'a tower without: {_parts(model, side)}'}. "
                "Take fewer, another model, or heads (without `towers`)."
            )
        for number in range(len(blocks) - count, len(blocks)):
            parameters |= {f"{place}.{number}.{name}": weights for name, weights in blocks[number].named_parameters()}
    return parameters


@dataclass(frozen=True, kw_only=True, eq=False)
class TowerDeltas:
    """Additions to weights of a model, by their names: w becomes w + strength * delta."""

    deltas: Arrays
    strength: float = 1.0

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        return refinement_bytes(self.deltas, self.strength, kind=KIND)

    def on(self, base: Encoder) -> OpenClipEncoder:
        """The encoder with these weights, another one by its identity; all other weights are shared with `base`.

        Raises RowsError where they are not of its model.
        """
        import torch

        if not isinstance(base, OpenClipEncoder):
            raise RowsError(f"`refine` must be of an open_clip model; got {type(base).__name__}. Name its model.")
        model = base.opened.model
        weights = dict(model.named_parameters())
        if not set(self.deltas) <= set(weights):
            alien = sorted(set(self.deltas) - set(weights))
            raise RowsError(
                f"`refine` must be of the encoder's model, which has no `{alien[0]}`. Name the right model."
            )
        for name, delta in self.deltas.items():
            check_array(name, delta, tuple(weights[name].shape))
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        changed = copy.deepcopy(model, shared)
        for name, delta in self.deltas.items():
            place, _, last = name.rpartition(".")
            values = _added(weights[name].detach(), torch.from_numpy(delta).to(weights[name].device), self.strength)
            setattr(changed.get_submodule(place), last, torch.nn.Parameter(values, requires_grad=False))
        digest = hashlib.sha256(self.to_bytes()).hexdigest()
        facts = {**base.opened.facts, "refined": digest}
        return base.with_opened(replace(base.opened, model=changed, facts=facts))

    @classmethod
    def from_bytes(cls, data: bytes) -> "TowerDeltas":
        """Read the bytes of `to_bytes`. Raises RowsError for any others."""
        arrays, strength, _ = read_refinement(data)
        return cls(deltas=arrays, strength=strength)


@dataclass(frozen=True, kw_only=True, eq=False)
class RefinedTowers(TowerDeltas):
    """Deltas and what they are of: rows are made of pictures and texts anew, as they will be stored."""

    base: OpenClipEncoder
    read: ReadPictures
    _rows: dict[tuple[str, str], Single] = field(default_factory=dict)

    def at(self, strength: float) -> "RefinedTowers":
        """The same at another strength."""
        return RefinedTowers(deltas=self.deltas, strength=strength, base=self.base, read=self.read)

    def image(self, rows: Single, uids: Names, /) -> Single:
        """Rows of the pictures of pairs; at strength 0 those that are given."""
        return self._encoded("image", rows, uids)

    def text(self, rows: Single, texts: Names, /) -> Single:
        """Rows of texts; at strength 0 those that are given."""
        return self._encoded("text", rows, texts)

    def _encoded(self, side: str, rows: Single, names: Names) -> Single:
        if not self.strength:
            return rows
        missing = sorted({name for name in names.tolist() if (side, name) not in self._rows})
        encoder = self.on(self.base) if missing else self.base
        for part in cut(len(missing), _AT_ONCE):
            chunk = missing[part.start : part.stop]
            encoded = encoder.encode_images(self.read(chunk)) if side == "image" else encoder.encode_texts(chunk)
            self._rows.update(zip(((side, name) for name in chunk), stored_rows(encoded), strict=True))
        return np.stack([self._rows[side, name] for name in names.tolist()]) if len(names) else rows


class TowerTraining(Trainable):
    """The last `blocks` of both towers of an encoder: gradients reach what is added to their weights, nothing else.

    Pictures are read and prepared as the encoder does it, a batch ahead; of a text that is too long its beginning
    counts. Dropout and the like stay off.
    """

    def __init__(self, encoder: Encoder, blocks: int, pairs: PairRows, read: ReadPictures) -> None:
        if not isinstance(encoder, OpenClipEncoder):
            raise UnknownModelError(
                f"`towers` must be of an open_clip model; got {type(encoder).__name__}. Train heads."
            )
        self.encoder, self.pairs, self.read = encoder, pairs, read
        self.threads = encoder.images.threads
        model = encoder.opened.model
        model.requires_grad_(requires_grad=False)
        self._weights = {name: weights.detach() for name, weights in last_blocks(model, blocks).items()}

    def start(self) -> "dict[str, Tensor]":
        """Deltas of zero, in single precision."""
        import torch

        return {name: torch.zeros_like(weight, dtype=torch.float32) for name, weight in self._weights.items()}

    def inputs(self, batches: Sequence[Places], pool: "ThreadPoolExecutor") -> "Iterator[tuple[Tensor, Tensor]]":
        """Pixels and tokens of each batch."""
        import torch

        size = self.encoder.images.batch_size
        pieces = [places[part.start : part.stop] for places in batches for part in cut(len(places), size)]
        ready = ahead(pool, self._pixels, pieces, 2 * self.threads)
        for places in batches:
            pixels = torch.cat([next(ready) for _ in cut(len(places), size)])
            yield pixels, self.encoder.tokens(self.pairs.captions[places].tolist())

    def rows(self, parameters: "Mapping[str, Tensor]", original: Sides, inputs: Any) -> Sides:  # noqa: ANN401
        """Of pixels and tokens, by the weights and what is added to them."""
        from torch.func import functional_call

        del original
        if inputs is None:
            raise RowsError(
                "`objective` must refine rows of pairs alone with `towers`; this one refines others too. Train heads."
            )
        pixels, tokens = inputs
        tower = self.encoder.images
        with device_errors(tower.device, len(pixels)):
            ready = tower.pixels.normalised(pixels.to(tower.device))
            inputs = (ready.to(tower.dtype, memory_format=tower.layout), tokens.to(tower.device))
            image, text = functional_call(both_towers(self.encoder.opened.model), self._changed(parameters), inputs)
        return Sides(image=image.float().cpu(), text=text.float().cpu())

    def texts(self, parameters: "Mapping[str, Tensor]", rows: "Tensor", names: Names) -> "Tensor":
        """Of tokens, as in `rows`."""
        from torch.func import functional_call

        del rows
        tower, tokens = self.encoder.images, self.encoder.tokens(names.tolist())
        with device_errors(tower.device, len(tokens)):
            inputs = (None, tokens.to(tower.device))
            _, text = functional_call(both_towers(self.encoder.opened.model), self._changed(parameters), inputs)
        return cast("Tensor", text.float().cpu())

    def refinement(self, arrays: Arrays) -> RefinedTowers:
        """Deltas of them."""
        deltas = {name: arrays[name] for name in self._weights}
        return RefinedTowers(deltas=deltas, base=self.encoder, read=self.read)

    def _changed(self, parameters: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """The weights of the blocks, by their names in `both_towers`, and what is added to them."""
        return {f"model.{name}": _added(frozen, parameters[name], 1.0) for name, frozen in self._weights.items()}

    def _pixels(self, places: Places) -> "Tensor":
        return self.encoder.images.prepare(self.read(self.pairs.uids[places].tolist()))


def both_towers(model: Any) -> "torch.nn.Module":  # noqa: ANN401 - of open_clip, which has no types
    """A module whose call gives rows of pixels, None for None, and of tokens."""
    import torch

    class Towers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor | None, tokens: torch.Tensor) -> tuple[Any, torch.Tensor]:
            image = None if pixels is None else self.model.encode_image(pixels, normalize=False)
            return image, self.model.encode_text(tokens, normalize=False)

    return Towers()


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
