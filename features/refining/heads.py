"""Residual heads of low rank, which a refined encoder adds to the rows of the frozen one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError
from evenly.features.refining.objective import Sides
from evenly.features.refining.pairs import Names
from evenly.features.refining.refinement import Arrays, Trainable
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK_ROWS = 256
HEADS = "heads"
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
        zeros = np.zeros((rank, dimension), np.float32)
        return cls(image_down=image, image_up=zeros, text_down=text, text_up=zeros)

    @property
    def dimension(self) -> int:
        """The columns d of rows that they take."""
        return len(self.image_down)

    def at(self, strength: float) -> "Heads":
        """The same heads at another strength."""
        return Heads(**self.arrays(), strength=strength)

    def image(self, rows: Single, _uids: Names | None = None) -> Single:
        """Rows (n, d) of pictures, refined; each has the same bits whatever it is refined with."""
        return self._added(rows, self.image_down, self.image_up)

    def text(self, rows: Single, _texts: Names | None = None) -> Single:
        """Rows (n, d) of texts, refined; each has the same bits whatever it is refined with."""
        return self._added(rows, self.text_down, self.text_up)

    def of_text_tensor(self, rows: "Tensor") -> "Tensor":
        """Rows of texts, refined; gradients pass through."""
        import torch

        down, up = torch.from_numpy(self.text_down), torch.from_numpy(self.text_up)
        return rows + self.strength * (rows @ down @ up)

    def arrays(self) -> dict[str, Single]:
        """The trained parameters, by name."""
        return {name: getattr(self, name) for name in ARRAYS}

    def to_bytes(self) -> bytes:
        """A safetensors file."""
        return refinement_bytes(self.arrays(), self.strength)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Heads":
        """Read the bytes of `to_bytes`. Raises RowsError for any others."""
        arrays, strength, _ = read_refinement(data)
        check_heads(arrays)
        return cls(**arrays, strength=strength)

    def _added(self, rows: Single, down: Single, up: Single) -> Single:
        wide = down.astype(np.float64), up.astype(np.float64) * self.strength
        return in_blocks(rows, len(down), lambda block: block + block @ wide[0] @ wide[1])


class HeadTraining(Trainable):
    """Heads of columns d and a rank, from `Heads.start`."""

    def __init__(self, dimension: int, rank: int, *, seed: int) -> None:
        self._start = Heads.start(dimension, rank, seed=seed)

    def start(self) -> "dict[str, Tensor]":
        """The arrays of heads that change nothing yet."""
        import torch

        return {name: torch.from_numpy(values.copy()) for name, values in self._start.arrays().items()}

    def rows(self, parameters: "Mapping[str, Tensor]", original: Sides, inputs: Any) -> Sides:  # noqa: ANN401
        """Of the frozen rows alone."""
        del inputs
        return Sides(
            image=original.image + original.image @ parameters["image_down"] @ parameters["image_up"],
            text=self.texts(parameters, original.text),
        )

    def texts(self, parameters: "Mapping[str, Tensor]", rows: "Tensor", names: Names | None = None) -> "Tensor":
        """Of the frozen rows alone."""
        del names
        return rows + rows @ parameters["text_down"] @ parameters["text_up"]

    def refinement(self, arrays: Arrays) -> Heads:
        """Heads of them."""
        return Heads(**{name: arrays[name] for name in ARRAYS}, strength=1.0)


def in_blocks(
    rows: Single, dimension: int, refined: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
) -> Single:
    """Rows (n, d) as `refined` makes them, handed to it in blocks of one shape, so that no row depends on others.

    Raises RowsError for rows of other columns.
    """
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise RowsError(f"`rows` must have {dimension} columns, as its encoder has; got {rows.shape}. Take those.")
    result = np.empty(rows.shape, np.float32)
    block = np.zeros((_BLOCK_ROWS, dimension), np.float64)
    for start in range(0, len(rows), _BLOCK_ROWS):
        part = rows[start : start + _BLOCK_ROWS]
        block[: len(part)], block[len(part) :] = part, 0
        result[start : start + len(part)] = refined(block)[: len(part)]
    return result


def refinement_bytes(arrays: Arrays, strength: float, *, kind: str = HEADS) -> bytes:
    """A safetensors file of arrays, their strength and kind; the same bytes each time."""
    from safetensors.numpy import save

    stored = strength if kind == HEADS else {"kind": kind, "strength": strength}
    return save(dict(arrays), metadata={"strength": json.dumps(stored)})  # one entry: several come in any order


def read_refinement(data: bytes) -> tuple[dict[str, npt.NDArray[Any]], float, str]:
    """The arrays, the strength and the kind of a file that `refinement_bytes` made; RowsError for any other."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        stored = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["strength"])
        kind, strength = (stored["kind"], stored["strength"]) if isinstance(stored, dict) else (HEADS, stored)
        return arrays, float(strength), str(kind)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise RowsError(
            f"`refine` must be a file that `evenly refine` made; got another ({error}). Refine again."
        ) from None


def check_heads(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise RowsError unless they are the arrays of heads, finite and of shapes that fit."""
    if set(arrays) != set(ARRAYS):
        raise RowsError(f"`refine` must hold {', '.join(ARRAYS)}; got {', '.join(sorted(arrays))}. Refine again.")
    d, r = arrays["image_down"].shape if arrays["image_down"].ndim == 2 else (0, 0)
    shapes = {"down": (d, r), "up": (r, d)}
    for name, values in arrays.items():
        check_array(name, values, shapes[name.partition("_")[2]])


def check_array(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise RowsError unless it is of the shape, finite, float32 and not empty."""
    if values.shape != shape or not values.size or values.dtype != np.float32 or not np.isfinite(values).all():
        raise RowsError(
            f"`{name}` must be finite float32 of shape {shape}; got {values.dtype}, {values.shape}. Refine again."
        )
