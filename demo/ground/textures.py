"""Backgrounds of the ground: eight textures, and plain white.

Brick, grass and gravel are the photographs that come inside scikit-image's wheel; they are never fetched.
"""

import functools
import importlib.util
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from evenly.demo.draws import DEMO_SEED, demo_draw
from evenly.demo.errors import PicturesError
from evenly.installing import install_extra

SIDE_PX = 224
WHITE = "on white"
_LEVELS = 24  # of grey in a photograph, so that pictures stay small
_LIGHT, _RANGE = 150, 105  # textures are pale: drawings stand out from them
Grey = npt.NDArray[np.float64]


def _photograph(name: str) -> Callable[[], Grey]:
    def draw() -> Grey:
        spec = importlib.util.find_spec("skimage")
        path = Path(str(spec.origin)).parent / "data" / f"{name}.png" if spec else Path()
        if not path.is_file():
            command = install_extra("embedded", "scikit-image")
            raise PicturesError(f"`scikit-image` must be installed with its {name}.png; it is not. Run: {command}")
        with Image.open(path) as opened:
            grey = np.asarray(opened.convert("L").resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS), np.float64)
        spread = (grey - grey.min()) / (grey.max() - grey.min())
        return np.asarray(np.rint(spread * _LEVELS) / _LEVELS)

    return draw


def _checker() -> Grey:
    rows, columns = np.indices((SIDE_PX, SIDE_PX)) // 28
    return np.asarray((rows + columns) % 2, np.float64)


def _stripes() -> Grey:
    rows, columns = np.indices((SIDE_PX, SIDE_PX))
    return np.asarray((rows + columns) // 16 % 2, np.float64)


def _dots() -> Grey:
    rows, columns = np.indices((SIDE_PX, SIDE_PX)) % 28 - 14
    return np.asarray(np.hypot(rows, columns) > 8, np.float64)


def _stars() -> Grey:
    """Small stars of five points, dark on light, where the hash says."""
    rows, columns = np.indices((SIDE_PX, SIDE_PX))
    grey = np.ones((SIDE_PX, SIDE_PX))
    for star in range(48):
        x, y = (SIDE_PX * demo_draw(DEMO_SEED, "star", str(star), axis) for axis in "xy")
        angle = np.arctan2(rows - y, columns - x)
        reach = 6 + 5 * np.cos(5 * angle + 2 * math.pi * demo_draw(DEMO_SEED, "star", str(star), "turn"))
        grey[np.hypot(rows - y, columns - x) < reach] = 0
    return grey


def _clouds() -> Grey:
    """Waves of falling height added up, smooth and without edges."""
    rows, columns = np.indices((SIDE_PX, SIDE_PX)) / SIDE_PX
    grey = np.zeros((SIDE_PX, SIDE_PX))
    for wave in range(24):
        turn, phase = (2 * math.pi * demo_draw(DEMO_SEED, "cloud", str(wave), kind) for kind in ("turn", "phase"))
        rate = 1 + wave / 3
        grey += np.cos(2 * math.pi * rate * (rows * math.sin(turn) + columns * math.cos(turn)) + phase) / rate
    spread = (grey - grey.min()) / (grey.max() - grey.min())
    return np.asarray(np.rint(spread * _LEVELS) / _LEVELS)


TEXTURES: Mapping[str, Callable[[], Grey]] = {
    "on bricks": _photograph("brick"),
    "on grass": _photograph("grass"),
    "on gravel": _photograph("gravel"),
    "on a checkerboard": _checker,
    "on stripes": _stripes,
    "on dots": _dots,
    "among stars": _stars,
    "in the clouds": _clouds,
}
"""What captions say of a background -> how light it is, 0 to 1, (224, 224)."""


@functools.cache
def texture(phrase: str) -> Image.Image:
    """The background of a phrase, RGBA, grey; not to be painted on."""
    grey = np.ones((SIDE_PX, SIDE_PX)) * 255 if phrase == WHITE else _LIGHT + _RANGE * TEXTURES[phrase]()
    return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGBA")
