"""Defects planted in the drawing of an object: what it shows is changed or gone in one place of it."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw

from evenly.demo.draws import demo_draw
from evenly.demo.scenes.colours import OPAQUE

_INK = (63, 63, 63)
_PAINT = (255, 255, 255)
Draw = Callable[[str], float]


def damaged(sprite: Image.Image, kind: str, seed: int, *key: str) -> Image.Image:
    """An RGBA drawing with a defect, a key of `DEFECTS`, where the hash says; it is seen wherever it falls."""
    return DEFECTS[kind](sprite, lambda purpose: demo_draw(seed, *key, kind, purpose))


def _scratch(sprite: Image.Image, draw: Draw) -> Image.Image:
    """A bright line with a dark edge across the object, as far as it is opaque."""
    x, y = _centre(sprite, draw)
    angle, reach = math.pi * draw("angle"), 0.35 * max(sprite.size)
    line = [
        (x - reach * math.cos(angle), y - reach * math.sin(angle)),
        (x + reach * math.cos(angle), y + reach * math.sin(angle)),
    ]
    scratched = sprite.copy()
    pen = ImageDraw.Draw(scratched)
    pen.line(line, fill=(*_INK, 255), width=4)
    pen.line(line, fill=(*_PAINT, 255), width=2)
    values, original = np.array(scratched), np.asarray(sprite)
    opaque = original[..., 3] >= OPAQUE
    values[~opaque] = original[~opaque]
    return Image.fromarray(values)


def _hole(sprite: Image.Image, draw: Draw) -> Image.Image:
    """A round hole with a dark edge, through which the background is seen."""
    x, y = _centre(sprite, draw)
    radius = max(0.08 * max(sprite.size), 5)
    rows, columns = np.ogrid[: sprite.height, : sprite.width]
    distance = np.hypot(columns - x, rows - y)
    values = np.array(sprite)
    values[(distance <= radius) & (values[..., 3] >= OPAQUE), :3] = _INK
    return _without(Image.fromarray(values), distance <= radius - 2)


def _missing_part(sprite: Image.Image, draw: Draw) -> Image.Image:
    """The left or the right end is gone, a tenth to a quarter of the opaque pixels."""
    solid = np.asarray(sprite)[..., 3] >= OPAQUE
    share = np.cumsum(solid.sum(axis=0)) / solid.sum()
    lost = 0.1 + 0.15 * draw("share")
    columns = np.arange(sprite.width)
    is_gone = share <= lost if draw("side") < 0.5 else share >= 1 - lost
    if not is_gone.any():
        is_gone = columns == 0
    return _without(sprite, np.broadcast_to(is_gone, solid.shape))


DEFECTS: Mapping[str, Callable[[Image.Image, Draw], Image.Image]] = {
    "scratch": _scratch,
    "hole": _hole,
    "missing_part": _missing_part,
}


def _centre(sprite: Image.Image, draw: Draw) -> tuple[int, int]:
    """One of the opaque pixels, (x, y)."""
    rows, columns = np.nonzero(np.asarray(sprite)[..., 3] >= OPAQUE)
    place = int(draw("centre") * len(rows))
    return int(columns[place]), int(rows[place])


def _without(sprite: Image.Image, hole: np.ndarray) -> Image.Image:
    values = np.array(sprite)
    values[..., 3][hole] = 0
    return Image.fromarray(values)
