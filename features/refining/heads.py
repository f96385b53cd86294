"""Residual heads of low rank: what a refined encoder adds to the rows of the frozen one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single

_BLOCK_ROWS = 256
SIDES = ("image", "text")
ARRAYS = tuple(f"{side}_{part}" for side in SIDES for part in ("down", "up"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Heads:
    """A row x becomes x + strength * x down up, with `down` (d, r) and `up` (r, d) of its side, image or text.

    At the start `up` is zero: rows are those of the frozen encoder to the bit.
    """

    image_down: Single
    image_up: Single
    text_down: Single
    text_up: Single
    strength: float = 1.0

    @classmethod
    def start(cls, dimension: int, rank: int, *, seed: int) -> "Heads":
        """Heads that change nothing yet; `down` is drawn by the seed, of variance 1 / d."""
        generator = np.random.Generator(np.random.Philox(key=seed))
        image, text = (
            (generator.normal(size=(dimension, rank)).astype(np.float32) / np.sqrt(dimension)).astype(np.float32)
            for _ in SIDES
        )
        up = np.zeros((rank, dimension), np.float32)
        return cls(image_down=image, image_up=up, text_down=text, text_up=up)

    @property
    def dimension(self) -> int:
        """The columns d of rows that they take."""
        return len(self.image_down)

    def image(self, rows: Single) -> Single:
        """Rows (n, d) of pictures, refined; each has the same bits whatever it is refined with."""
        return self._added(rows, self.image_down, self.image_up)

    def text(self, rows: Single) -> Single:
        """Rows (n, d) of texts, refined; each has the same bits whatever it is refined with."""
        return self._added(rows, self.text_down, self.text_up)

    def arrays(self) -> dict[str, Single]:
        """What is trained, by name."""
        return {name: getattr(self, name) for name in ARRAYS}

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        from safetensors.numpy import save

        return save(self.arrays(), metadata={"strength": json.dumps(self.strength)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Heads":
        """What `to_bytes` gave. Raises RowsError for anything else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays = load(data)
            size = int.from_bytes(data[:8], "little")
            strength = float(json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["strength"]))
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise RowsError(
                f"`refine` must be a file of heads; got one that is none ({error}). Refine again."
            ) from None
        check_heads(arrays)
        return cls(**arrays, strength=strength)

    def _added(self, rows: Single, down: Single, up: Single) -> Single:
        if rows.ndim != 2 or rows.shape[1] != len(down):
            raise RowsError(f"`rows` must have {len(down)} columns, as its encoder has; got {rows.shape}. Take those.")
        refined = np.empty(rows.shape, np.float32)
        wide = down.astype(np.float64), up.astype(np.float64) * self.strength
        block = np.zeros((_BLOCK_ROWS, rows.shape[1]), np.float64)  # one shape, so that no row depends on others
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = rows[start : start + _BLOCK_ROWS]
            block[: len(part)], block[len(part) :] = part, 0
            refined[start : start + len(part)] = (block + block @ wide[0] @ wide[1])[: len(part)]
        return refined


def check_heads(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise RowsError unless they are the arrays of heads, finite and of shapes that fit."""
    if set(arrays) != set(ARRAYS):
        raise RowsError(f"`refine` must hold {', '.join(ARRAYS)}; got {', '.join(sorted(arrays))}. Refine again.")
    d, r = arrays["image_down"].shape if arrays["image_down"].ndim == 2 else (0, 0)
    shapes = {"down": (d, r), "up": (r, d)}
    for name, values in arrays.items():
        wanted = shapes[name.partition("_")[2]]
        if values.shape != wanted or not values.size or values.dtype != np.float32 or not np.isfinite(values).all():
            raise RowsError(
                f"`{name}` must be finite float32 of shape {wanted}; got {values.dtype}, {values.shape}. Refine again."
            )
