"""The corruptions. Strengths are those of ImageNet-C (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Own are the lengths of motion blur, the fog and posterize. Noise is of channel values of 0 to 1, blur in pixels.
"""

from io import BytesIO

import numpy as np
from PIL import Image

from evenly.features.corruptions.pixels import Floats, Pixels, to_bytes, to_unit

DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)
PHOTONS = (60, 25, 12, 5, 3)
SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)
SIGMA = (1, 2, 3, 4, 6)
RADIUS = (3, 4, 6, 8, 10)
LENGTH = (7, 11, 15, 21, 29)
VEIL = (0.3, 0.42, 0.54, 0.66, 0.78)
LIGHT = (0.1, 0.2, 0.3, 0.4, 0.5)
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
_THINNEST = 0.6  # of the veil, where the fog is thinnest
_OCTAVES = 6
QUALITY = (25, 18, 15, 10, 7)
SIZE = (0.6, 0.5, 0.4, 0.3, 0.25)
LEVELS = (12, 8, 5, 3, 2)


def gaussian_noise(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:
    """Normal noise added to every channel value, as of a sensor in low light."""
    return to_bytes(to_unit(rgb) + DEVIATION[strength - 1] * generator.standard_normal(rgb.shape))


def shot_noise(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:
    """Each channel value is counted in photons, of which white has a few, and the count is Poisson."""
    photons = PHOTONS[strength - 1]
    return to_bytes(generator.poisson(to_unit(rgb) * photons) / photons)


def impulse_noise(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:
    """A share of the channel values becomes 0 or 255, either as often; those of a weaker strength stay among them."""
    draws = generator.random(rgb.shape)
    hit = draws < SHARE[strength - 1]
    return np.where(hit, np.where(generator.random(rgb.shape) < 0.5, 0, 255), rgb).astype(np.uint8)


def gaussian_blur(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:  # noqa: ARG001 - one shape
    """A Gaussian of 1 to 6 pixels, edges mirrored."""
    from scipy.ndimage import gaussian_filter

    sigma = SIGMA[strength - 1]
    return to_bytes(gaussian_filter(to_unit(rgb), sigma=(sigma, sigma, 0), mode="reflect"))


def defocus_blur(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:  # noqa: ARG001 - one shape
    """A disk of 3 to 10 pixels radius, as of a lens out of focus."""
    x, y = _grid(RADIUS[strength - 1] + 1)
    return _convolved(rgb, (RADIUS[strength - 1] + 0.5 - np.hypot(x, y)).clip(0, 1))


def motion_blur(rgb: Pixels, strength: int, generator: np.random.Generator) -> Pixels:
    """A line of 7 to 29 pixels in a drawn direction, the same for every strength."""
    half = LENGTH[strength - 1] / 2
    angle = generator.uniform(0, np.pi)
    x, y = _grid(int(half) + 1)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return _convolved(rgb, (half + 0.5 - np.abs(along)).clip(0, 1) * (1 - np.abs(across)).clip(0, 1))


def _grid(reach: int) -> tuple[Floats, Floats]:
    """The x and y of a square of 2 `reach` + 1 pixels around 0."""
    line = np.arange(-reach, reach + 1, dtype=np.float64)
    x, y = np.meshgrid(line, line)
    return x, y


def _convolved(rgb: Pixels, kernel: Floats) -> Pixels:
    """The picture under a square kernel scaled to sum 1, edges mirrored."""
    from scipy.signal import fftconvolve

    reach = len(kernel) // 2
    padded = np.pad(to_unit(rgb), ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    return to_bytes(fftconvolve(padded, (kernel / kernel.sum())[:, :, None], mode="valid", axes=(0, 1)))


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
