"""The text tower of an embedded model by itself: a sentence becomes a row without open_clip and torch.

all-MiniLM-L6-v2 is a transformer of six layers. One sentence takes it milliseconds in numpy; to import the libraries
that run it else takes seconds. Rows are those of the whole model but for rounding (cosines of 1 - 1e-12 were measured),
so they are for comparing with what is stored, and are not stored themselves.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from evenly.features.embedded_weights import CONTEXT_LENGTH, embedded_folder, embedded_tower
from evenly.features.unit_rows import Single

_PREFIX = "text."
_OF_BLOCKS = "transformer.encoder.layer."
Weights = Mapping[str, Single]


@dataclass(frozen=True, kw_only=True, eq=False)
class TextTower:
    """Turns texts into feature rows (n, d), float32, not normalised, comparable with those of its encoder."""

    weights: Weights
    tokenizer: Any
    heads: int
    epsilon: float

    def encode_texts(self, texts: Sequence[str]) -> Single:
        """Rows of texts, of which the first CONTEXT_LENGTH tokens are read."""
        return np.stack([self._row(self._tokens(text)) for text in texts])

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is longer than the model reads."""
        return [len(self._tokens(text)) > CONTEXT_LENGTH for text in texts]

    def _tokens(self, text: str) -> list[int]:
        """The numbers of a text's tokens; it is cleaned as open_clip cleans it."""
        import ftfy

        cleaned = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        tokens: list[int] = self.tokenizer.encode(re.sub(r"\s+", " ", cleaned).strip()).ids
        return tokens

    def _row(self, tokens: list[int]) -> Single:
        ids = np.array(tokens if len(tokens) <= CONTEXT_LENGTH else [*tokens[: CONTEXT_LENGTH - 1], tokens[-1]])
        named = "transformer.embeddings."
        rows = self.weights[f"{named}word_embeddings.weight"][ids]
        rows = rows + self.weights[f"{named}position_embeddings.weight"][: len(ids)]
        rows = self._normal(rows + self.weights[f"{named}token_type_embeddings.weight"][0], f"{named}LayerNorm")
        for number in range(1 + max(int(name.split(".")[3]) for name in self.weights if name.startswith(_OF_BLOCKS))):
            rows = self._block(rows, f"{_OF_BLOCKS}{number}.")
        row: Single = self.weights["proj.weight"] @ rows.mean(axis=0)
        return row

    def _block(self, rows: Single, block: str) -> Single:
        """Attention, then two layers with a gelu between them, each added to what came in and normalised."""
        from scipy.special import erf

        parts = (self._linear(rows, f"{block}attention.self.{name}") for name in ("query", "key", "value"))
        query, key, value = (part.reshape(len(rows), self.heads, -1).transpose(1, 0, 2) for part in parts)
        scores = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(query.shape[-1]))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended = (scores / scores.sum(axis=-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(rows.shape)
        output = f"{block}attention.output"
        rows = self._normal(rows + self._linear(attended, f"{output}.dense"), f"{output}.LayerNorm")
        inner = self._linear(rows, f"{block}intermediate.dense")
        inner = inner * np.float32(0.5) * (1 + erf(inner / np.float32(np.sqrt(2))))
        return self._normal(rows + self._linear(inner, f"{block}output.dense"), f"{block}output.LayerNorm")

    def _linear(self, rows: Single, name: str) -> Single:
        return rows @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _normal(self, rows: Single, name: str) -> Single:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        normal: Single = centred / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return normal


@lru_cache(maxsize=1)
def embedded_text_tower(model: str, cache: Path) -> TextTower:
    """The text tower of `embedded` or `embedded2`, read once in a process; the model is assembled where it is not."""
    from safetensors import safe_open
    from tokenizers import Tokenizer

    folder = embedded_folder(cache, embedded_tower(model))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    with safe_open(folder / "open_clip_model.safetensors", "np") as file:
        names = [name for name in file.keys() if name.startswith(_PREFIX)]  # noqa: SIM118 - no mapping
        weights = {name.removeprefix(_PREFIX): file.get_tensor(name) for name in names}
    return TextTower(
        weights=weights,
        tokenizer=tokenizer,
        heads=int(config["num_attention_heads"]),
        epsilon=float(config["layer_norm_eps"]),
    )
