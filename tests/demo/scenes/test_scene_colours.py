import io

import numpy as np
import pytest
from PIL import Image

from evenly.demo.pictures.openmoji import draw_picture
from evenly.demo.scenes.colours import OPAQUE, SHADES, colour_of, recoloured


def pixels(*colours):
    return np.array(colours, dtype=np.uint8)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((210, 47, 39), "red"),
        ((244, 170, 65), "orange"),
        ((252, 234, 43), "yellow"),
        ((64, 130, 60), "green"),
        ((0, 60, 200), "blue"),
        ((146, 211, 245), "blue"),
        ((150, 110, 180), "purple"),
        ((255, 180, 200), "pink"),
        ((110, 72, 45), "brown"),
        ((128, 128, 128), "grey"),
        ((250, 250, 250), "white"),
        ((5, 5, 5), "black"),
    ],
)
def test_a_pixel_has_the_name_of_its_nearest_shade(rgb, name):
    assert colour_of(pixels(rgb)) == name


def test_the_colour_of_an_object_is_that_of_most_of_its_fill():
    red, blue, black = (210, 47, 39), (30, 80, 160), (0, 0, 0)
    assert colour_of(pixels(*[red] * 6, *[blue] * 4, *[black] * 5)) == "red"
    assert colour_of(pixels(*[red] * 4, *[blue] * 3, *[(252, 234, 43)] * 3)) is None
    assert colour_of(pixels(*[red] * 3, *[black] * 7)) == "black"
    assert colour_of(pixels().reshape(0, 3)) is None


@pytest.mark.parametrize("colour", SHADES)
def test_a_recoloured_drawing_has_the_colour_and_keeps_outline_and_alpha(colour):
    with Image.open(io.BytesIO(draw_picture("1F697", size_px=96))) as opened:
        car = opened.convert("RGBA")
    painted = np.asarray(recoloured(car, colour))
    whole = np.asarray(car)
    assert np.array_equal(painted[..., 3], whole[..., 3])
    solid = whole[..., 3] >= OPAQUE
    assert colour_of(painted[solid][:, :3]) == colour
    outline = solid & (whole[..., :3].max(axis=2) < 20)
    assert outline.sum() > 100
    assert np.array_equal(painted[outline], whole[outline])
