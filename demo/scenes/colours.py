"""Colours by name: which name fits the pixels of a drawing, and a drawing in another colour.

The names stand for the shades of OpenMoji's own palette, a light and a dark one of each.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

SHADES = {
    "red": ((234, 90, 71), (210, 47, 39)),
    "orange": ((244, 170, 65), (226, 112, 34)),
    "yellow": ((252, 234, 43), (241, 179, 28)),
    "green": ((177, 204, 51), (92, 158, 49)),
    "blue": ((97, 178, 228), (30, 80, 160)),
    "purple": ((179, 153, 200), (137, 103, 170)),
    "pink": ((255, 167, 192), (230, 122, 148)),
    "brown": ((165, 121, 57), (106, 70, 47)),
}
"""The colours that things are given: light and dark."""

_STEPS = 5  # of each ramp from dark to light that pixels are compared with
_NAMED = [(name, shade) for name, ramp in SHADES.items() for shade in np.linspace(*ramp, _STEPS)] + [
    ("blue", (146, 211, 245)),
    ("grey", (208, 207, 206)),
    ("grey", (155, 155, 154)),
    ("grey", (63, 63, 63)),
    ("white", (255, 255, 255)),
    ("black", (0, 0, 0)),
]
_NAMES = tuple(dict.fromkeys(name for name, _ in _NAMED))
_DROPPED_BITS = 3  # of the eight of a channel, in which no name changes that an eye would miss
COLOUR_SHARE = 0.45  # of small drawings the edges of outlines, mixed with black, take a good part
"""The share of an object's pixels, black ones left out, that must be of a colour for the object to be."""

FILL_SHARE = 0.35
"""The share of an object's pixels that must not be black for it to have another colour."""

OPAQUE = 128
"""The alpha from which a pixel belongs to an object."""

_LUMA = np.array([0.299, 0.587, 0.114])
_OUTLINE = 0.12  # the luma up to which a pixel is outline, which stays black
Pixels = npt.NDArray[np.uint8]


def colour_of(pixels: Pixels) -> str | None:
    """The colour that most pixels (n, 3) have, by the shares above; None where none prevails."""
    counts = dict(zip(_NAMES, np.bincount(_places(pixels), minlength=len(_NAMES)).tolist(), strict=True))
    fill = len(pixels) - counts.pop("black")
    if fill < max(FILL_SHARE * len(pixels), 1):
        return "black" if len(pixels) else None
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] >= COLOUR_SHARE * fill else None


def recoloured(picture: Image.Image, colour: str) -> Image.Image:
    """An RGBA drawing in shades of `colour`, a key of `SHADES`; light stays light, outlines stay black."""
    values = np.asarray(picture, dtype=np.float64)
    luma = (values[..., :3] @ _LUMA / 255)[..., None]
    light, dark = (np.array(shade, dtype=np.float64) for shade in SHADES[colour])
    weight = np.clip((luma - _OUTLINE) / _OUTLINE, 0, 1)
    mixed = values[..., :3] * (1 - weight) + (dark + (light - dark) * luma) * weight
    return Image.fromarray(np.dstack([np.rint(mixed), values[..., 3:]]).astype(np.uint8))


def _places(pixels: Pixels) -> npt.NDArray[np.int64]:
    """The place in `_NAMES` of the name of each pixel."""
    red, green, blue = (pixels >> _DROPPED_BITS).T
    places: npt.NDArray[np.int64] = _cube()[red, green, blue]
    return places


@functools.cache
def _cube() -> npt.NDArray[np.int64]:
    """Names of all colours by their leading five bits, (32, 32, 32)."""
    steps = np.arange(256 >> _DROPPED_BITS)
    colours = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    middles = (colours.reshape(-1, 3) << _DROPPED_BITS) + (1 << _DROPPED_BITS) // 2
    shades = _oklab(np.array([shade for _, shade in _NAMED]))
    distances = ((_oklab(middles)[:, None] - shades[None]) ** 2).sum(axis=2)
    names = np.array([_NAMES.index(name) for name, _ in _NAMED])
    return np.asarray(names[distances.argmin(axis=1)].reshape(colours.shape[:3]))


def _oklab(pixels: npt.NDArray[np.number[Any]]) -> npt.NDArray[np.float64]:
    """Coordinates in which distance is what the eye sees (Ottosson 2020)."""
    share = pixels.astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_cones = np.array([
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ])  # fmt: skip
    to_lab = np.array([
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ])  # fmt: skip
    return np.asarray(np.cbrt(linear @ to_cones.T) @ to_lab.T)
