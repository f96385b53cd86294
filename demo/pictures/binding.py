"""Pictures of two coloured objects side by side: does a model give each object its own colour, or the other's?

The probe of the Concept Association Bias (Yamada et al. 2022, arXiv:2212.12043), on OpenMoji.
"""

import io
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

from PIL import Image

from evenly.demo.pictures.openmoji import draw_picture

SIDE_PX = 192


class Item(NamedTuple):
    """A picture by code, what it shows, its colour, and how strongly the one calls up the other: strong or weak."""

    code: str
    thing: str
    colour: str
    strength: str


ITEMS = (
    Item("1F34B", "lemon", "yellow", "strong"),
    Item("1F34C", "banana", "yellow", "strong"),
    Item("1F345", "tomato", "red", "strong"),
    Item("1F353", "strawberry", "red", "strong"),
    Item("1F955", "carrot", "orange", "strong"),
    Item("1F34A", "tangerine", "orange", "strong"),
    Item("1F966", "broccoli", "green", "strong"),
    Item("1F952", "cucumber", "green", "strong"),
    Item("1F346", "eggplant", "purple", "strong"),
    Item("1F347", "grapes", "purple", "strong"),
    Item("1F4D5", "book", "red", "weak"),
    Item("1F4D7", "book", "green", "weak"),
    Item("1F4D8", "book", "blue", "weak"),
    Item("1F9E1", "heart", "orange", "weak"),
    Item("1F49B", "heart", "yellow", "weak"),
    Item("1F499", "heart", "blue", "weak"),
    Item("1F49C", "heart", "purple", "weak"),
)
THINGS = tuple(dict.fromkeys(item.thing for item in ITEMS))
COLOURS = tuple(dict.fromkeys(item.colour for item in ITEMS))


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A PNG with the first item on the left and the second on the right."""

    png: bytes
    items: tuple[Item, Item]


def compositions() -> list[Composition]:
    """Every two items that show different things, in both orders; the same bytes each time."""
    drawn = {item: _drawn(item) for item in ITEMS}
    return [
        Composition(png=_beside(drawn[left], drawn[right]), items=(left, right))
        for left, right in permutations(ITEMS, 2)
        if left.thing != right.thing
    ]


def question(thing: str, colour: str) -> str:
    """The text that says so."""
    return f"color of the {thing} is {colour}"


def _drawn(item: Item) -> Image.Image:
    with Image.open(io.BytesIO(draw_picture(item.code, size_px=SIDE_PX, background="white"))) as picture:
        return picture.convert("RGB")


def _beside(left: Image.Image, right: Image.Image) -> bytes:
    wide = Image.new("RGB", (2 * SIDE_PX, SIDE_PX), "white")
    wide.paste(left, (0, 0))
    wide.paste(right, (SIDE_PX, 0))
    file = io.BytesIO()
    wide.save(file, "PNG")
    return file.getvalue()
