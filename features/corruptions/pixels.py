"""The pictures that corruptions take and give: uint8 (h, w, 3), and channel values of 0 to 1 in between."""

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]


def to_unit(rgb: Pixels) -> Floats:
    """Channel values in 0 to 1, float64."""
    return np.asarray(rgb / 255.0)


def to_bytes(values: Floats) -> Pixels:
    """Channel values of 0 to 1, cut to that range and rounded to 256 levels."""
    return np.asarray(np.rint(values.clip(0, 1) * 255), dtype=np.uint8)
