"""Colours by name: which name fits the pixels of a drawing, and a drawing in another colour.

The names stand for the shades of OpenMoji's own palette, a light and a dark one of each.
"""

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
    names = colour_names(pixels)
    fill = names[names != "black"]
    if len(fill) < max(FILL_SHARE * len(names), 1):
        return "black" if len(names) else None
    candidates, counts = np.unique(fill, return_counts=True)
    best = int(counts.argmax())
    return str(candidates[best]) if counts[best] >= COLOUR_SHARE * len(fill) else None


def colour_names(pixels: Pixels) -> npt.NDArray[np.str_]:
    """The name of each of the pixels (n, 3): that of the nearest shade, by the distance of Oklab."""
    names, shades = zip(*_NAMED, strict=True)
    red, green, blue = pixels.astype(np.uint32).T
    packed, places = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    different = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)
    distances = ((_oklab(different)[:, None] - _oklab(np.array(shades))[None]) ** 2).sum(axis=2)
    nearest: npt.NDArray[np.str_] = np.array(names)[distances.argmin(axis=1)][places]
    return nearest


def recoloured(picture: Image.Image, colour: str) -> Image.Image:
    """An RGBA drawing in shades of `colour`, a key of `SHADES`; light stays light, outlines stay black."""
    values = np.asarray(picture, dtype=np.float64)
    luma = (values[..., :3] @ _LUMA / 255)[..., None]
    light, dark = (np.array(shade, dtype=np.float64) for shade in SHADES[colour])
    weight = np.clip((luma - _OUTLINE) / _OUTLINE, 0, 1)
    mixed = values[..., :3] * (1 - weight) + (dark + (light - dark) * luma) * weight
    return Image.fromarray(np.dstack([np.rint(mixed), values[..., 3:]]).astype(np.uint8))


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
