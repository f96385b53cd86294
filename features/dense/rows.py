"""Dense rows of pictures, and where the grid of their cells lies on each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError
from evenly.features.unit_rows import Single

Frames = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dense:
    """Rows of n pictures and of the h x w cells of each, unit, float32, in the space of the encoder's texts.

    image: (n, d), of whole pictures. cells: (n, h, w, d), rows from the top, columns from the left. sizes: (n, 2), the
    width and height of pictures in pixels. frames: (n, 4), where the grid lies on each, x0, y0, x1, y1 in its pixels;
    beyond its edges where an encoder pads, within them where it crops. second: (n, h, w, e), rows of the same cells by
    a second backbone, which are compared with one another alone; None where no method asks for them. ids: (n,), which
    are of the pictures' content and alike on all machines, as the last bits of rows are not; None: rows stand for them.
    """

    image: Single
    cells: Single
    sizes: npt.NDArray[np.int64]
    frames: Frames
    second: Single | None = None
    ids: npt.NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        n = len(self.image)
        if self.cells.ndim != 4 or self.cells.shape[::3] != self.image.shape or self.frames.shape != (n, 4):
            raise RowsError(
                f"`cells` must be (n, h, w, d) and `frames` (n, 4) for image rows {self.image.shape}; got "
                f"{self.cells.shape} and {self.frames.shape}. Hand in rows of the same pictures."
            )

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, places: npt.NDArray[np.integer] | slice) -> "Dense":
        """The rows of pictures at `places`."""
        chosen: dict[str, Any] = {name: None if rows is None else rows[places] for name, rows in vars(self).items()}
        return Dense(**chosen)

    @classmethod
    def concatenated(cls, parts: "Sequence[Dense]") -> "Dense":
        """The pictures of one or more parts by the same encoders, one part after another."""
        columns: dict[str, Any] = {entry.name: [getattr(part, entry.name) for part in parts] for entry in fields(cls)}
        joined: dict[str, Any] = {n: None if rows[0] is None else np.concatenate(rows) for n, rows in columns.items()}
        return cls(**joined)

    def with_second(self, cells: Single, frames: Frames) -> "Dense":
        """The same with cells (n, h2, w2, e) of a second backbone, taken at the centres of these cells.

        Between its own centres rows are interpolated, beyond them the nearest is taken.
        """
        n, height, width, _ = self.cells.shape
        x = self.frames[:, :1] + (np.arange(width) + 0.5) / width * (self.frames[:, 2:3] - self.frames[:, :1])
        y = self.frames[:, 1:2] + (np.arange(height) + 0.5) / height * (self.frames[:, 3:] - self.frames[:, 1:2])
        at_x = (x - frames[:, :1]) / (frames[:, 2:3] - frames[:, :1]) * cells.shape[2] - 0.5
        at_y = (y - frames[:, 1:2]) / (frames[:, 3:] - frames[:, 1:2]) * cells.shape[1] - 0.5
        rows = [interpolated(cells[place], at_y[place], at_x[place]) for place in range(n)]
        empty = np.empty((0, height, width, cells.shape[3]), np.float32)
        return replace(self, second=unit_length(np.stack(rows)) if n else empty)

    def weights(self, place: int, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The share (m, h, w) of each cell of a picture that lies in each of its boxes (m, 4), in pixels.

        A box that touches no cell (beyond what an encoder sees) has zeros.
        """
        height, width = self.cells.shape[1:3]
        x0, y0, x1, y1 = self.frames[place]
        columns = _overlap(np.linspace(x0, x1, width + 1), boxes[:, [0, 2]])
        lines = _overlap(np.linspace(y0, y1, height + 1), boxes[:, [1, 3]])
        shares: npt.NDArray[np.float64] = lines[:, :, None] * columns[:, None, :]
        return shares

    def as_one_cell(self) -> "Dense":
        """The same pictures, each with its own row as its only cell."""
        frames = np.hstack([np.zeros_like(self.sizes), self.sizes]).astype(np.float64)
        return replace(self, cells=self.image[:, None, None], frames=frames, second=None)

    def digest(self, place: int, further: bytes = b"") -> str:
        """A hash of a picture and of what is told apart on it, 32 hex digits, by which parts and orders are drawn."""
        content = self.image[place].tobytes() if self.ids is None else str(self.ids[place]).encode()
        return hashlib.blake2b(content + further, digest_size=16).hexdigest()

    def edges(self, place: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The pixels (h + 1,) and (w + 1,) of a picture at which its lines and columns of cells start and end."""
        x0, y0, x1, y1 = self.frames[place]
        height, width = self.cells.shape[1:3]
        lines = np.clip(np.linspace(y0, y1, height + 1), 0, self.sizes[place, 1])
        columns = np.clip(np.linspace(x0, x1, width + 1), 0, self.sizes[place, 0])
        return lines.round().astype(np.int64), columns.round().astype(np.int64)

    def on_pixels(self, place: int, maps: npt.NDArray[np.floating], *, step: int = 1) -> npt.NDArray[np.float32]:
        """Maps (c, h, w) over the cells of a picture as (c, height, width) over its pixels, interpolated.

        Of `step` lines and columns one, that in their middle.
        """
        width, height = self.sizes[place]
        x0, y0, x1, y1 = self.frames[place]
        x, y = (np.arange(step // 2, side, step) + 0.5 for side in (width, height))
        at_x = (x - x0) / (x1 - x0) * maps.shape[2] - 0.5
        at_y = (y - y0) / (y1 - y0) * maps.shape[1] - 0.5
        lines, columns = _mixing(maps.shape[1], at_y), _mixing(maps.shape[2], at_x)
        values: Single = lines @ maps.astype(np.float32) @ columns.T
        return values


def interpolated(grid: Single, at_y: npt.NDArray[np.float64], at_x: npt.NDArray[np.float64]) -> Single:
    """The rows (a, b, d) of a grid (h, w, d) at `at_y` (a,) and `at_x` (b,), counted from the centre of the first cell.

    Bilinear; beyond the centres at the edge the nearest is taken.
    """
    lines = _mixing(grid.shape[0], at_y)
    columns = _mixing(grid.shape[1], at_x)
    mixed: Single = np.einsum("ah,hwd,bw->abd", lines, grid, columns, optimize=True)
    return mixed


def _mixing(count: int, places: npt.NDArray[np.float64]) -> Single:
    """The weight (m, count) of each cell at each of m places along an axis."""
    clipped = np.clip(places, 0, count - 1)
    distance = np.abs(clipped[:, None] - np.arange(count))
    weights: Single = np.maximum(0, 1 - distance).astype(np.float32)
    return weights


def _overlap(edges: npt.NDArray[np.float64], sides: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share (m, k) of each of k intervals between `edges` (k + 1,) that lies within `sides` (m, 2)."""
    shared = np.minimum(edges[1:], sides[:, 1:]) - np.maximum(edges[:-1], sides[:, :1])
    shares: npt.NDArray[np.float64] = np.clip(shared, 0, None) / np.diff(edges)
    return shares


def unit_length(rows: Single) -> Single:
    """Rows (..., d) divided by their lengths; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    divided: Single = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return divided


def frame_of(size: tuple[int, int], preprocessing: Mapping[str, Any], most_ratio: int) -> tuple[float, ...]:
    """Where an encoder that prepares pictures so looks at one of that width and height: x0, y0, x1, y1 in pixels.

    preprocessing: of open_clip (`resize_mode`) or timm (`crop_pct`). most_ratio: longer pictures are cut to their
    middle first.
    """
    lengths = np.array(size, np.float64)
    extent = np.minimum(lengths, most_ratio * lengths.min() + 1)
    mode = preprocessing.get("resize_mode", "shortest")
    if mode == "longest":
        extent = np.full(2, extent.max())
    elif mode == "shortest":
        extent = np.full(2, extent.min() * float(preprocessing.get("crop_pct") or 1))
    return (*((lengths - extent) / 2), *((lengths + extent) / 2))
