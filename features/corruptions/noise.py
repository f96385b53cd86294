"""Noise: strengths of ImageNet-C (Hendrycks and Dietterich 2019, arXiv:1903.12261), on channel values of 0 to 1."""

import numpy as np

from evenly.features.corruptions.pixels import Pixels, to_bytes, to_unit

DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)
PHOTONS = (60, 25, 12, 5, 3)
SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)


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
