"""A refined encoder: the frozen one, and heads on its rows."""

import hashlib
from collections.abc import Iterable, Sequence

from evenly.features.batched_rows import FileOrPixels, Progress
from evenly.features.encoder import Encoder
from evenly.features.errors import RowsError
from evenly.features.refining import mixture, towers
from evenly.features.refining.heads import HEADS, Heads, read_refinement
from evenly.features.refining.mixture import HeadMixture
from evenly.features.refining.pairs import stored_rows
from evenly.features.refining.towers import TowerDeltas
from evenly.features.unit_rows import Single


class RefinedEncoder:
    """An `Encoder` of its own identity. Its heads take rows as they are stored: those need no picture again."""

    def __init__(self, base: Encoder, heads: Heads | HeadMixture) -> None:
        if heads.dimension != base.dimension:
            raise RowsError(
                f"`refine` must be of an encoder of {base.dimension} columns; it is of one of {heads.dimension}. Name "
                "the encoder that was refined."
            )
        self.base, self.heads = base, heads
        self.dimension, self.device_name = base.dimension, base.device_name
        self.identity = _identity(base.identity, heads)

    def encode_images(self, images: Iterable[FileOrPixels], *, progress: Progress | None = None) -> Single:
        """Rows of pictures."""
        return self.heads.image(stored_rows(self.base.encode_images(images, progress=progress)))

    def encode_texts(self, texts: Sequence[str], *, progress: Progress | None = None) -> Single:
        """Rows of texts."""
        return self.heads.text(stored_rows(self.base.encode_texts(texts, progress=progress)))

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is longer than the model reads."""
        return self.base.truncated(texts)

    @property
    def context_length(self) -> int:
        """The number of tokens of a text that the model reads."""
        return self.base.context_length

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text."""
        return self.base.token_counts(texts)


def heads_identity(base: str, content: bytes) -> str | None:
    """The identity of heads on rows of the encoder of identity `base`; None for towers, of which the model tells."""
    return None if read_refinement(content)[-1] in towers.KINDS else _identity(base, _heads(content))


def _identity(base: str, heads: Heads | HeadMixture) -> str:
    digest = hashlib.sha256(heads.to_bytes()).hexdigest()
    return hashlib.sha256(f"{base} refined by {digest}".encode()).hexdigest()


def _heads(content: bytes) -> Heads | HeadMixture:
    kind = read_refinement(content)[-1]
    if kind not in {HEADS, mixture.KIND}:
        kinds = ", ".join((HEADS, mixture.KIND, *towers.KINDS))
        raise RowsError(f"`refine` must be one of {kinds}; got `{kind}`. Refine again.")
    return (HeadMixture if kind == mixture.KIND else Heads).from_bytes(content)


def refined_encoder(base: Encoder, content: bytes) -> Encoder:
    """The encoder that is made of a frozen one by the bytes of `Refinement.to_bytes`. Raises RowsError for any others.

    Of heads it is a RefinedEncoder; with towers pictures and texts are encoded anew.
    """
    if read_refinement(content)[-1] in towers.KINDS:
        return TowerDeltas.from_bytes(content).on(base)
    return RefinedEncoder(base, _heads(content))
