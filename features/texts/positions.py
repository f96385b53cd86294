"""Positions of a text tower stretched, so that it reads nearly four times as much: Long-CLIP, arXiv:2403.15378."""

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evenly.features.errors import UnknownModelError
from evenly.features.open_clip_models import OpenedModel
from evenly.features.texts.tokens import EFFECTIVE_TOKENS

if TYPE_CHECKING:
    import torch

STRETCH = 4
Tower = Any  # of open_clip, which has no types


def stretched(opened: OpenedModel) -> OpenedModel:
    """The model with the first EFFECTIVE_TOKENS of its positions as they are and STRETCH of each later one.

    77 positions become 248. Nothing is trained, as the paper's model then is. All other weights are shared with
    `opened`, which stays as it is. Raises UnknownModelError for a text tower without a table of positions, or with too
    small a one.
    """
    from open_clip.hf_model import HFTextEncoder

    weights = [*opened.model.parameters(), *opened.model.buffers()]
    model = copy.deepcopy(opened.model, {id(tensor): tensor for tensor in weights})
    tower = getattr(model, "text", model)
    if opened.context_length <= EFFECTIVE_TOKENS:
        raise _error(f"more than {EFFECTIVE_TOKENS} tokens to read", f"{opened.context_length}")
    longest = stretched_length(opened.context_length)
    is_hf = isinstance(tower, HFTextEncoder)
    _stretch_hf(tower, opened.context_length) if is_hf else _stretch_own(tower)
    lengths = (*opened.text_lengths, longest) if is_hf else (longest,)
    return replace(opened, model=model, context_length=longest, text_lengths=lengths)


def stretched_length(positions: int) -> int:
    """The number of stretched positions."""
    return EFFECTIVE_TOKENS + STRETCH * (positions - EFFECTIVE_TOKENS)


def stretched_rows(table: "torch.Tensor") -> "torch.Tensor":
    """A table of positions (n, d) stretched: those between two are interpolated, those after the last extrapolated."""
    import torch

    wide = table.detach().double()
    tail = wide[EFFECTIVE_TOKENS:]
    following = torch.cat([tail[1:], 2 * wide[-1:] - wide[-2:-1]])
    shares = torch.arange(STRETCH, dtype=torch.float64, device=wide.device)[:, None] / STRETCH
    interpolated = tail[:, None] * (1 - shares) + following[:, None] * shares
    return torch.cat([wide[:EFFECTIVE_TOKENS], interpolated.flatten(0, 1)]).to(table.dtype)


def _stretch_own(tower: Tower) -> None:
    """A tower of open_clip's own: all its positions, but for that of a class token at its end."""
    import torch

    table = tower.positional_embedding.detach()
    has_class = getattr(tower, "cls_emb", None) is not None
    words, last = (table[:-1], table[-1:]) if has_class else (table, table[:0])
    longer = torch.cat([stretched_rows(words), last])
    tower.positional_embedding = torch.nn.Parameter(longer, requires_grad=False)
    tower.context_length, tower.num_pos = len(longer) - len(last), len(longer)
    if tower.attn_mask is not None:
        tower.attn_mask = tower.attn_mask.new_full((len(longer), len(longer)), float("-inf")).triu_(1)


def _stretch_hf(tower: Tower, context: int) -> None:
    """A tower of transformers: the positions that texts of `context` tokens have, in the table that holds more."""
    import torch

    embeddings = getattr(tower.transformer, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    if not isinstance(table, torch.nn.Embedding):
        raise _error("a text tower with a table of positions", f"`{tower.config.model_type}`, which has none")
    first = 0 if table.padding_idx is None else table.padding_idx + 1  # RoBERTa counts from after its padding
    longest = stretched_length(context)
    if len(table.weight) < first + longest:
        raise _error(f"a text tower with room for {longest} positions", f"one with {len(table.weight) - first}")
    weight = table.weight.detach().clone()
    weight[first : first + longest] = stretched_rows(weight[first : first + context])
    table.weight = torch.nn.Parameter(weight, requires_grad=False)


def _error(rule: str, value: str) -> UnknownModelError:
    return UnknownModelError(
        f"`long_texts: stretched` must have {rule}; got {value}. Take `chunks`, which any model can, or another model."
    )
