"""Corruptions by software. JPEG and pixelate are those of ImageNet-C (arXiv:1903.12261), posterize is our own."""

from io import BytesIO

import numpy as np
from PIL import Image

from evenly.features.corruptions.pixels import Pixels, to_bytes, to_unit

QUALITY = (25, 18, 15, 10, 7)
SIZE = (0.6, 0.5, 0.4, 0.3, 0.25)
LEVELS = (12, 8, 5, 3, 2)


def jpeg(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:  # noqa: ARG001 - one shape
    """Stored as JPEG of quality 25 to 7 and read again."""
    file = BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=QUALITY[strength - 1])
    with Image.open(file) as stored:
        return np.asarray(stored.convert("RGB"))


def pixelate(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:  # noqa: ARG001 - one shape
    """Shrunk to 60 to 25 % of each side by averaging, and enlarged to squares."""
    height, width = rgb.shape[:2]
    share = SIZE[strength - 1]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    shrunk = Image.fromarray(rgb).resize(small, Image.Resampling.BOX)
    return np.asarray(shrunk.resize((width, height), Image.Resampling.NEAREST))


def posterize(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:  # noqa: ARG001 - one shape
    """Each channel rounded to the nearest of 12 to 2 levels."""
    steps = LEVELS[strength - 1] - 1
    return to_bytes(np.rint(to_unit(rgb) * steps) / steps)
