"""Backgrounds of scenes, all pale: black outlines stand out from them."""

import functools
from collections.abc import Callable, Mapping

from PIL import Image, ImageDraw

from evenly.demo.scenes.layout import HEIGHT_PX, WIDTH_PX

Rgb = tuple[int, int, int]
_SKY: Rgb = (214, 236, 250)


def _plain(colour: Rgb) -> Callable[[ImageDraw.ImageDraw], None]:
    def paint(pen: ImageDraw.ImageDraw) -> None:
        pen.rectangle((0, 0, WIDTH_PX, HEIGHT_PX), fill=colour)

    return paint


def _landscape(ground: Rgb, edge: Rgb, sky: Rgb = _SKY) -> Callable[[ImageDraw.ImageDraw], None]:
    """A sky, and ground of two shades from below the middle."""

    def paint(pen: ImageDraw.ImageDraw) -> None:
        pen.rectangle((0, 0, WIDTH_PX, HEIGHT_PX), fill=sky)
        horizon = HEIGHT_PX * 5 // 9
        pen.rectangle((0, horizon, WIDTH_PX, HEIGHT_PX), fill=edge)
        pen.ellipse((-WIDTH_PX // 2, horizon + 12, WIDTH_PX * 3 // 2, HEIGHT_PX * 2), fill=ground)

    return paint


def _striped(first: Rgb, second: Rgb) -> Callable[[ImageDraw.ImageDraw], None]:
    def paint(pen: ImageDraw.ImageDraw) -> None:
        for left in range(0, WIDTH_PX, 24):
            pen.rectangle((left, 0, left + 23, HEIGHT_PX), fill=first if left // 24 % 2 else second)

    return paint


BACKGROUNDS: Mapping[str, Callable[[ImageDraw.ImageDraw], None]] = {
    "on a plain white background": _plain((255, 255, 255)),
    "on a pale blue background": _plain((222, 238, 250)),
    "on a pale green background": _plain((226, 243, 219)),
    "on a pale yellow background": _plain((252, 246, 212)),
    "on a pale pink background": _plain((252, 228, 235)),
    "on a striped background": _striped((240, 238, 232), (250, 249, 246)),
    "in a meadow": _landscape((206, 230, 176), (190, 220, 158)),
    "on a beach": _landscape((248, 232, 196), (178, 216, 238)),
    "in the snow": _landscape((255, 255, 255), (232, 238, 244)),
    "in a desert": _landscape((246, 222, 178), (238, 208, 160), (252, 240, 222)),
}
"""What captions say of a background -> what paints it."""


@functools.cache
def background(phrase: str) -> Image.Image:
    """The background of a phrase, RGBA, without anything on it; not to be painted on."""
    picture = Image.new("RGBA", (WIDTH_PX, HEIGHT_PX))
    BACKGROUNDS[phrase](ImageDraw.Draw(picture))
    return picture
