"""Blur. Gaussian and defocus as in ImageNet-C (arXiv:1903.12261), motion lengths are own. In pixels."""

import numpy as np

from evenly.features.corruptions.pixels import Floats, Pixels, to_bytes, to_unit

SIGMA = (1, 2, 3, 4, 6)
RADIUS = (3, 4, 6, 8, 10)
LENGTH = (7, 11, 15, 21, 29)


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
