"""Counts of tokens of texts: for a model that reads so many and no more, and of these hardly the later ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

LongTexts = Literal["cut", "chunks", "stretched"]
"""What becomes of texts that are longer than a model reads: chunks.py, positions.py."""
EFFECTIVE_TOKENS = 20
"""Of a text, so many tokens are what CLIP was seen to make use of: Long-CLIP, arXiv:2403.15378."""


def count_tokens(tokenizer: Any, texts: Sequence[str]) -> list[int]:  # noqa: ANN401 - open_clip has no types
    """The number of tokens of each text, however long, with the marks that a tokenizer of open_clip adds."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return [len(tokenizer.encode(text)) + 2 for text in texts]  # marks of start and end
    if not texts:
        return []
    clean = getattr(tokenizer, "clean_fn", str)
    marks_class = getattr(tokenizer, "tokenizer_mode", "") == "clips"  # which adds one more at the end
    tokens = inner([clean(text) for text in texts], padding=False, truncation=False, verbose=False)["input_ids"]
    return [len(ids) + marks_class for ids in tokens]


def token_ids(opened: Any, text: str) -> npt.NDArray[np.int64]:  # noqa: ANN401 - an OpenedModel, which imports this
    """The tokens of a text with its marks, without padding."""
    (row,) = opened.tokenizer([text], context_length=opened.context_length)
    ids: npt.NDArray[np.int64] = row.numpy().astype(np.int64)
    return ids[: np.flatnonzero(ids != opened.pad_id).max(initial=-1) + 1]


def marks(opened: Any) -> tuple[int, int]:  # noqa: ANN401
    """The numbers of marks that the tokenizer sets before a text and after it."""
    dog, cat = token_ids(opened, "dog"), token_ids(opened, "cat")
    differ = np.flatnonzero(dog != cat)
    return int(differ[0]), len(dog) - int(differ[-1]) - 1


def word_embeddings(model: Any) -> Any:  # noqa: ANN401 - of open_clip, which has no types
    """The text tower's table of word embeddings, a module."""
    text = getattr(model, "text", model)
    return text.token_embedding if hasattr(text, "token_embedding") else text.transformer.get_input_embeddings()


@dataclass(frozen=True)
class TokenCounts:
    """A histogram of tokens per text; added to, and so of any number of texts."""

    texts: Counter[int] = field(default_factory=Counter)

    def add(self, tokens: Sequence[int]) -> None:
        """Count further texts by their tokens."""
        self.texts.update(tokens)

    def over(self, limit: int) -> int:
        """The number of texts of more than `limit` tokens."""
        return sum(count for tokens, count in self.texts.items() if tokens > limit)

    def quantile(self, share: float) -> int | None:
        """The fewest tokens with which at least this share of the texts do; None without texts."""
        wanted, reached = share * self.texts.total(), 0
        for tokens, count in sorted(self.texts.items()):
            reached += count
            if reached >= wanted:
                return tokens
        return None
