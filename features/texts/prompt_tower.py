"""The text tower of an encoder with vectors in the place of words: what prompt learning (CoOp) trains through.

A text holds a placeholder for each context vector; where the tower looks up the embedding of a placeholder it gets the
vector instead. Positions, masks, pooling and projection are the tower's own, whatever its kind: open_clip's, CoCa's, or
one of Hugging Face.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from evenly.features.device import device_errors
from evenly.features.encoder import Encoder, OpenClipEncoder
from evenly.features.errors import RowsError, UnknownModelError
from evenly.features.refining.deep_prompts import DeepPrompts
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.heads import Heads
from evenly.features.refining.towers import both_towers
from evenly.features.texts.tokens import marks, token_ids, word_embeddings
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_PLACEHOLDERS = ("x", "a", "X", "*", "o")
_VECTORS = 64  # compared with all tokens at once


class EncoderPromptTower:
    """The text tower of an encoder that open_clip opened, with heads that it was refined by, if any.

    Raises UnknownModelError for any other encoder. Opening one freezes its weights.
    """

    def __init__(self, encoder: Encoder) -> None:
        base, heads = (encoder.base, encoder.heads) if isinstance(encoder, RefinedEncoder) else (encoder, None)
        if not isinstance(base, OpenClipEncoder) or not isinstance(heads, Heads | None):
            raise UnknownModelError(
                f"`encoder` must be of open_clip, or refined by heads or towers, to learn prompts; got "
                f"{type(heads or base).__name__}. Name another encoder."
            )
        if hasattr(base.opened.model, DeepPrompts.kind):
            raise UnknownModelError(
                "`encoder` must read texts without learned tokens to learn prompts; it was refined by deep prompts. "
                "Name another encoder."
            )
        self._base, self._heads = base, heads
        self._tokens: dict[tuple[int, str, str], tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}
        base.opened.model.requires_grad_(requires_grad=False)

    def rows(
        self, context: "Tensor", names: Sequence[str], *, place: Literal["end", "middle", "front"] = "end"
    ) -> "Tensor":
        """Rows (c, d) of "context, name", of vectors (m, w) for all names or (c, m, w).

        RowsError names a name beside which the context does not fit.
        """
        import torch
        from torch.func import functional_call

        count = context.shape[-2]
        cut = [self._placed(name, count, place) for name in names]
        length = max(len(tokens) for tokens, _ in cut)
        if self._shortened is None and len(self._base.opened.text_lengths) == 1:
            length = self._base.context_length
        tokens = np.full((len(cut), length), self._base.opened.pad_id, np.int64)
        for row, (of_text, _) in zip(tokens, cut, strict=True):
            row[: len(of_text)] = of_text
        places = np.stack([positions for _, positions in cut])
        device = self._base.images.device
        vectors = context.expand(len(cut), *context.shape[-2:]).to(device)
        index = (torch.arange(len(cut), device=device)[:, None], torch.from_numpy(places).to(device))
        with device_errors(device, len(cut)), self._replaced(index, vectors):
            inputs, model = (None, torch.from_numpy(tokens).to(device)), both_towers(self._base.opened.model)
            rows: Tensor = functional_call(model, self._shortened(length) if self._shortened else {}, inputs)[1]
        rows = rows.float().cpu()
        return rows if self._heads is None else self._heads.of_text_tensor(rows)

    def vectors(self, text: str) -> Single:
        """Word embeddings (m, w) of the tokens of a text."""
        return self._table[self._ids(text)]

    def nearest_words(self, vectors: Single) -> list[tuple[str, float]]:
        """Of each vector the token with the nearest embedding, and its Euclidean distance to four digits."""
        table = self._table.astype(np.float64)
        squares = (table**2).sum(axis=1)
        nearest = []
        for start in range(0, len(vectors), _VECTORS):
            rows = vectors[start : start + _VECTORS].astype(np.float64)
            for vector, products in zip(rows, rows @ table.T, strict=True):
                distances = np.sqrt(np.maximum(squares - 2 * products + vector @ vector, 0.0)).round(4)
                token = int(distances.argmin())
                nearest.append((self._word(token), float(distances[token])))
        return nearest

    @cached_property
    def _embedding(self) -> "torch.nn.Module":
        """The tower's table of word embeddings."""
        return word_embeddings(self._base.opened.model)  # type: ignore[no-any-return]

    @cached_property
    def _table(self) -> Single:
        table: Single = self._embedding.weight.detach().float().cpu().numpy()  # type: ignore[operator]
        return table

    @cached_property
    def _shortened(self) -> "Callable[[int], dict[str, Tensor]] | None":
        """Gives the positions and the mask of a causal tower for fewer tokens than it reads: what follows counts not.

        None where what follows the end of a text does count.
        """
        model = self._base.opened.model
        text = getattr(model, "text", model)
        mask, prefix = getattr(text, "attn_mask", None), "model." if text is model else "model.text."
        pool = getattr(text, "pool_type", getattr(text, "text_pool_type", ""))
        if mask is None or pool not in {"argmax", "eos"} or getattr(text, "cls_emb", None) is not None:
            return None
        names = f"{prefix}positional_embedding", f"{prefix}attn_mask"
        return lambda length: dict(
            zip(names, (text.positional_embedding[:length], mask[:length, :length]), strict=True)
        )

    @contextmanager
    def _replaced(self, index: "tuple[Tensor, Tensor]", vectors: "Tensor") -> Iterator[None]:
        """Let the tower look up `vectors` (n, m, w) at (rows, positions)."""

        def looked_up(_module: Any, _tokens: Any, rows: "Tensor") -> "Tensor":  # noqa: ANN401 - of torch
            return rows.index_put(index, vectors.to(rows.dtype))

        handle = self._embedding.register_forward_hook(looked_up)
        try:
            yield
        finally:
            handle.remove()

    def _placed(self, name: str, count: int, place: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Tokens of a name with `count` placeholders, and the positions of these."""
        key = (count, place, name)
        if key not in self._tokens:
            leading = {"end": count, "middle": count // 2, "front": 0}[place]
            word, token = self._placeholder
            text = " ".join([*[word] * leading, name, *[word] * (count - leading)])
            ids = token_ids(self._base.opened, text)
            places = np.flatnonzero(ids == token)
            positions = np.concatenate([places[:leading], places[len(places) - (count - leading) :]])
            (length,) = self._base.token_counts([text])
            if length > self._base.context_length:
                raise RowsError(
                    f"`names` must fit the {self._base.context_length} tokens of the text tower beside {count} context "
                    f"vectors; got {length} tokens of `{name[:60]}`. Shorten the name, or take fewer vectors."
                )
            self._tokens[key] = ids, positions
        return self._tokens[key]

    @cached_property
    def _placeholder(self) -> tuple[str, int]:
        """A word that is one token wherever it stands, and this token."""
        for word in _PLACEHOLDERS:
            ids = self._ids(f"{word} {word} {word}")
            if len(ids) == 3 and len({*ids.tolist()}) == 1:
                return word, int(ids[0])
        raise UnknownModelError("`encoder` must have a tokenizer with a word of one token; it has none of ours.")

    def _ids(self, text: str) -> npt.NDArray[np.int64]:
        """The tokens of a text without the marks at its ends."""
        ids, (start, stop) = token_ids(self._base.opened, text), self._marks
        return ids[start : len(ids) - stop]

    @cached_property
    def _marks(self) -> tuple[int, int]:
        return marks(self._base.opened)

    def _word(self, token: int) -> str:
        tokenizer: Any = self._base.opened.tokenizer
        inner = getattr(tokenizer, "tokenizer", None)
        text = tokenizer.decode([token]) if inner is None else inner.convert_ids_to_tokens(token)
        return str(text).strip()
