"""Weather and light. Brightness and contrast are those of ImageNet-C (arXiv:1903.12261); the fog is own."""

import numpy as np
from PIL import Image

from evenly.features.corruptions.pixels import Floats, Pixels, to_bytes, to_unit

VEIL = (0.3, 0.42, 0.54, 0.66, 0.78)
LIGHT = (0.1, 0.2, 0.3, 0.4, 0.5)
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)

_THINNEST = 0.6  # of the veil, where the fog is thinnest
_OCTAVES = 6


def fog(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:
    """A white veil in drawn clouds, which lets 70 to 22 % of the picture through where it is thickest."""
    veil = VEIL[strength - 1] * (_THINNEST + (1 - _THINNEST) * _clouds(rgb.shape[:2], generator))[:, :, None]
    return to_bytes(to_unit(rgb) * (1 - veil) + veil)


def brightness(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:  # noqa: ARG001 - one shape
    """A tenth to a half added to the value of HSV; hue and saturation stay."""
    unit = to_unit(rgb)
    value = unit.max(axis=2, keepdims=True)
    lit = (value + LIGHT[strength - 1]).clip(max=1)
    return to_bytes(np.where(value > 0, unit * (lit / np.where(value > 0, value, 1)), lit))


def contrast(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:  # noqa: ARG001 - one shape
    """Distances from the mean of each channel shrink to 40 down to 5 %."""
    unit = to_unit(rgb)
    mean = unit.mean(axis=(0, 1), keepdims=True)
    return to_bytes(mean + (unit - mean) * CONTRAST[strength - 1])


def _clouds(shape: tuple[int, int], generator: np.random.Generator) -> Floats:
    """Values (h, w) of 0 to 1: random grids of 2, 4, 8, ... cells a side, each smoothed to size and half as strong."""
    height, width = shape
    total = np.zeros(shape)
    for octave in range(_OCTAVES):
        cells = generator.random((2 ** (octave + 1), 2 ** (octave + 1)), dtype=np.float32)
        smooth = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(smooth, dtype=np.float64) / 2**octave
    low, high = total.min(), total.max()
    return np.asarray((total - low) / (high - low)) if high > low else np.full(shape, 0.5)
