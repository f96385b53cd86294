"""Learned tokens in the first blocks of an encoder's towers: MaPLe, Khattak et al., CVPR 2023, arXiv:2210.03117."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from evenly.features.encoder import OpenClipEncoder
from evenly.features.errors import RowsError, UnknownModelError
from evenly.features.refining.tuned import Blocks, TunedTowers, shared_copy, side_of, tower_blocks
from evenly.features.texts.tokens import marks, token_ids, word_embeddings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TOKENS = 2
"""Learned tokens of a block."""
_BEGINNING = "a photo of a"
_PREFIX = "deep_prompts."
_PARTS = {("image", "text"): ("text", "weight", "bias"), ("text",): ("text",), ("image",): ("image",)}
"""The parameters of a block, by the towers that have tokens."""
_SPREAD = 0.02
Module = Any  # of open_clip, timm and transformers


class DeepPrompts(TunedTowers):
    """TOKENS learned tokens in each of the first blocks; those of the picture tower are a linear map of the texts'.

    In a text they stand after its first mark, and block i has those of its own in their place; they begin at the words
    "a photo", deeper ones at draws of deviation .02. In a picture they come last, before the first normalisation, and
    are cut off after the last block, as in muzairkhattak/multimodal-prompt-learning. There "a photo" is a part of each
    text; here texts stay whole behind the tokens and can be shorter by as many. Of the picture tower alone they are
    learned as they are: VPT in the same code. Tokens have no half: all are there, or none.
    """

    kind = "deep_prompts"
    strengths = (1.0,)

    def __init__(self, base: OpenClipEncoder, names: Sequence[str], *, seed: int = 0) -> None:
        """Raises RowsError for names that are not of deep prompts, and UnknownModelError as `names` does."""
        tokens = [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)]
        parts = {name.rpartition("_")[0] for name in tokens}
        self.sides = next((sides for sides, wanted in _PARTS.items() if parts == {*wanted}), ())
        depth = len(tokens) // max(1, len(parts))
        if not self.sides or sorted(names) != sorted(self.names(base.opened.model, depth, self.sides)):
            raise RowsError(f"`refine` must hold deep prompts; got {', '.join(sorted(names)[:3])}. Refine again.")
        self.base, self._start = base, _drawn(base, depth, self.sides, seed=seed)
        self.encoder = _prompted(base, self._start, depth, self.sides)

    @classmethod
    def names(cls, model: "torch.nn.Module", count: int, sides: Sequence[str]) -> list[str]:
        """Parameters of the first `count` blocks. Raises UnknownModelError also for another kind of picture tower."""
        for side in sides:
            tower_blocks(model, side, count)
        if "image" in sides:
            _entrance(model)
        return [f"{_PREFIX}{part}_{number}" for number in range(count) for part in _PARTS[tuple(sides)]]

    def start(self) -> "dict[str, Tensor]":
        """Words and draws."""
        return {name: values.clone() for name, values in self._start.items()}

    def changed(self, values: "Mapping[str, Tensor]", strength: float = 1.0) -> "dict[str, Tensor]":
        """The values themselves. Raises RowsError for a strength that is not 1."""
        if strength != 1:
            raise RowsError(f"`strength` must be 0 or 1 of deep prompts; got {strength:g}. Refine again.")
        return {name: values[name] for name in self._start}


class PromptsAndNorms(DeepPrompts):
    """Deep prompts, and beside them all weights of the LayerNorms of these towers, w + delta.

    Of the picture tower with one block: what fazliimam/NoLA, arXiv:2411.19346, trains of it.
    """

    kind = "prompts_and_norms"

    def __init__(self, base: OpenClipEncoder, names: Sequence[str], *, seed: int = 0) -> None:
        super().__init__(base, names, seed=seed)
        self._norms = Blocks(base, [name for name in names if not name.startswith(_PREFIX)])

    @classmethod
    def names(cls, model: "torch.nn.Module", count: int, sides: Sequence[str]) -> list[str]:
        """Tokens as of deep prompts, and parameters of LayerNorms."""
        from torch.nn import LayerNorm

        return super().names(model, count, sides) + [
            f"{place}.{name}"
            for place, module in model.named_modules()
            if isinstance(module, LayerNorm) and side_of(place) in sides
            for name, _ in module.named_parameters()
        ]

    def start(self) -> "dict[str, Tensor]":
        """Words and draws, and zeros."""
        return super().start() | self._norms.start()

    def changed(self, values: "Mapping[str, Tensor]", strength: float = 1.0) -> "dict[str, Tensor]":
        """The tokens, and the weights with their deltas."""
        return super().changed(values, strength) | self._norms.changed(values)


def _drawn(base: OpenClipEncoder, depth: int, sides: Sequence[str], *, seed: int) -> "dict[str, Tensor]":
    """Tokens, and maps as torch.nn.Linear draws them: one of the first block, one that all deeper blocks begin with."""
    import torch

    generator, model = torch.Generator().manual_seed(seed), base.opened.model
    values: dict[str, Tensor] = {}
    table = word_embeddings(model).weight.detach()
    start = marks(base.opened)[0]
    first = table[token_ids(base.opened, _BEGINNING)[start : start + TOKENS].tolist()].float().cpu()
    image_width = _entrance(model)[1] if "image" in sides else 0
    text_width = first.shape[1]
    maps = [
        (torch.rand(image_width, text_width + 1, generator=generator) * 2 - 1) / text_width**0.5
        for _ in range(min(depth, 2))
    ]
    for number in range(depth):
        if "text" not in sides:
            values[f"image_{number}"] = _SPREAD * torch.randn(TOKENS, image_width, generator=generator)
            continue
        deeper = _SPREAD * torch.randn(TOKENS, text_width, generator=generator)
        values[f"text_{number}"] = deeper if number else first
        if "image" in sides:
            affine = maps[min(number, 1)]
            values |= {f"weight_{number}": affine[:, 1:].contiguous(), f"bias_{number}": affine[:, 0].contiguous()}
    return {f"{_PREFIX}{name}": tensor.to(base.images.device) for name, tensor in values.items()}


def _prompted(
    base: OpenClipEncoder, values: "Mapping[str, Tensor]", depth: int, sides: Sequence[str]
) -> OpenClipEncoder:
    """The encoder with tokens in its towers, read from parameters of its model that go by the names of the values."""
    import torch

    opened, model = base.opened, shared_copy(base.opened.model)
    prompts = torch.nn.Module()
    for name, tensor in values.items():
        prompts.register_parameter(name.removeprefix(_PREFIX), torch.nn.Parameter(tensor, requires_grad=False))
    model.add_module(_PREFIX[:-1], prompts)
    if "text" in sides:
        start = marks(opened)[0]
        words = torch.from_numpy(token_ids(opened, _BEGINNING)[start : start + TOKENS])
        model.encode_text = partial(_encode_text, model, words, start)
        word_embeddings(model).register_forward_hook(partial(_after_lookup, prompts, start))
        for number, (_, block) in enumerate(tower_blocks(model, "text", depth)[:depth]):
            if number:
                block.register_forward_pre_hook(partial(_before_block, prompts, f"text_{number}", start))
        length = opened.context_length - TOKENS
        lengths = (*(shorter for shorter in opened.text_lengths if shorter < length), length)
        opened = replace(opened, context_length=length, text_lengths=lengths)
    if "image" in sides:
        _entrance(model)[0].register_forward_pre_hook(partial(_before_first, prompts))
        blocks = [block for _, block in tower_blocks(model, "image", depth)]
        for number in range(1, depth):
            blocks[number].register_forward_pre_hook(partial(_before_block, prompts, f"image_{number}", -TOKENS))
        blocks[-1].register_forward_hook(_after_last)
    return base.with_opened(replace(opened, model=model))


def _entrance(model: Module) -> tuple[Module, int]:
    """What the tokens of a picture go through before the first block, and their width."""
    from open_clip.transformer import VisionTransformer
    from timm.models.vision_transformer import VisionTransformer as TimmTransformer

    visual, trunk = model.visual, getattr(model.visual, "trunk", None)
    if isinstance(visual, VisionTransformer):
        return visual.ln_pre, visual.conv1.out_channels
    if isinstance(trunk, TimmTransformer):
        return trunk.norm_pre, trunk.embed_dim
    raise UnknownModelError(
        "`tune` deep_prompts must be of a vision transformer of open_clip or timm, or of the text tower alone; got "
        f"{type(trunk or visual).__name__}. Take `side: text`, or another `tune`."
    )


def _tokens(prompts: Module, name: str, rows: "Tensor") -> "Tensor":
    """The tokens of a name, for each of the rows (n, length, width)."""
    from torch.nn.functional import linear

    tokens = getattr(prompts, name, None)
    if tokens is None:
        number = name.rpartition("_")[2]
        text, weight, bias = (getattr(prompts, f"{part}_{number}") for part in ("text", "weight", "bias"))
        tokens = linear(text, weight, bias)
    return tokens.to(rows.dtype).expand(len(rows), -1, -1)


def _placed(prompts: Module, name: str, start: int, rows: "Tensor") -> "Tensor":
    """Rows with the tokens of a name in the places from `start` on, counted from the end where it is negative."""
    import torch

    start %= rows.shape[1]
    return torch.cat([rows[:, :start], _tokens(prompts, name, rows), rows[:, start + TOKENS :]], dim=1)


def _encode_text(model: Module, words: "Tensor", start: int, text: "Tensor", normalize: bool = False) -> "Tensor":  # noqa: FBT001, FBT002 - as open_clip has it
    """Rows of tokenised texts, in which words hold the places of the tokens."""
    import torch

    places = words.to(text.device).expand(len(text), -1)
    longer = torch.cat([text[:, :start], places, text[:, start:]], dim=1)
    return type(model).encode_text(model, longer, normalize=normalize)  # type: ignore[no-any-return]


def _after_lookup(prompts: Module, start: int, _module: Module, _args: Any, rows: "Tensor") -> "Tensor":  # noqa: ANN401
    return _placed(prompts, "text_0", start, rows)


def _before_block(prompts: Module, name: str, start: int, _module: Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return _placed(prompts, name, start, args[0]), *args[1:]


def _before_first(prompts: Module, _module: Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    import torch

    return (torch.cat([args[0], _tokens(prompts, "image_0", args[0])], dim=1),)


def _after_last(_module: Module, _args: Any, rows: "Tensor") -> "Tensor":  # noqa: ANN401
    return rows[:, :-TOKENS]
