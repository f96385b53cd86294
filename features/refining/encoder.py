"""A refined encoder: the frozen one, and heads on its rows."""

import hashlib
from collections.abc import Sequence

import numpy as np

from evenly.features.batched_rows import Progress
from evenly.features.encoder import Encoder
from evenly.features.errors import RowsError
from evenly.features.refining.heads import Heads
from evenly.features.refining.pairs import raw_rows
from evenly.features.unit_rows import Single, to_unit_rows


class RefinedEncoder:
    """An `Encoder` of its own identity. Its heads take rows as they are stored: those need no picture again."""

    def __init__(self, base: Encoder, heads: Heads) -> None:
        if heads.dimension != base.dimension:
            raise RowsError(
                f"`refine` must be of an encoder of {base.dimension} columns; it is of one of {heads.dimension}. Name "
                "the encoder that was refined."
            )
        self.base, self.heads = base, heads
        self.dimension, self.device_name = base.dimension, base.device_name
        digest = hashlib.sha256(heads.to_bytes()).hexdigest()
        self.identity = hashlib.sha256(f"{base.identity} refined by {digest}".encode()).hexdigest()

    def encode_images(self, images: Sequence[bytes], *, progress: Progress | None = None) -> Single:
        """Rows of pictures."""
        return self.heads.image(_stored(self.base.encode_images(images, progress=progress)))

    def encode_texts(self, texts: Sequence[str], *, progress: Progress | None = None) -> Single:
        """Rows of texts."""
        return self.heads.text(_stored(self.base.encode_texts(texts, progress=progress)))

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is longer than the model reads."""
        return self.base.truncated(texts)

    @property
    def context_length(self) -> int:
        """How many tokens of a text the model reads."""
        return self.base.context_length

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text takes."""
        return self.base.token_counts(texts)


def _stored(rows: Single) -> Single:
    """The rows as they are read from the store: half-precision directions at their lengths."""
    return raw_rows(*to_unit_rows(rows)) if len(rows) else np.asarray(rows, np.float32)
