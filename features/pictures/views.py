"""Views of pictures: crops fixed by a hash, mirror images, and the contents of boxes."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated

from annotated_types import Ge, Le
from PIL import Image

from evenly.bounds import check_bounds
from evenly.features.errors import BoxError
from evenly.features.pictures.rgb import open_rgb

AREAS = (0.5, 1.0)
RATIOS = (3 / 4, 4 / 3)
"""Crops have such a share of the area of their picture, and so many times as much width as height: Tip-Adapter's."""
MOST_CROPS = MOST_BOXES = 64
"""Views of a picture of each kind: so many times as many rows are adapters given."""
_TRIES = 10
_FAR = 1e9  # beyond any picture


@dataclass(frozen=True, kw_only=True)
class View:
    """One view of a picture: the crop of that number, a `quarter` (0 to 3), or a `box`, else all.

    `box`: pixels [x0, y0, x1, y1]. `flip`: mirrored; a crop at a rate of a half, by its hash.
    """

    crop: int | None = None
    quarter: int | None = None
    box: tuple[float, float, float, float] | None = None
    flip: bool = False

    def __str__(self) -> str:
        """The name of the view where its features are stored, and in files: `crop 3 flip`, `box 0 0 10.5 20`."""
        crop = [] if self.crop is None else ["crop", str(self.crop)]
        box = [] if self.box is None else ["box", *(f"{side:g}" for side in self.box)]
        quarter = [] if self.quarter is None else ["quarter", str(self.quarter)]
        return " ".join([*crop, *quarter, *box, *["flip"] * self.flip])


@dataclass(frozen=True, kw_only=True)
class ViewRule:
    """Views of a picture: so many `crops`, half of them mirrored with `flip`, which without crops is its mirror image.

    `boxes`: a column of the pool, a list of boxes [x0, y0, x1, y1] in pixels for each picture, each of which is a view.

    Crops hold half to all of its area, at a ratio of 3 to 4 up to 4 to 3, as Tip-Adapter draws them. Another than its:
    they keep their ratio, and the model's own preprocessing follows.
    """

    crops: Annotated[int, Ge(0), Le(MOST_CROPS)] = 0
    flip: bool = False
    boxes: str | None = None

    def __post_init__(self) -> None:
        check_bounds(self, ValueError)
        if not self.crops and not self.flip and self.boxes is None:
            raise ValueError("views must be crops, flip or boxes; got none of them")

    def __str__(self) -> str:
        """All of them in words, as they are part of a result's key."""
        boxes = [] if self.boxes is None else [f"boxes of `{self.boxes}`"]
        return ", ".join([*map(str, self.views), *boxes])

    @property
    def views(self) -> tuple[View, ...]:
        """The views of any picture, in order; none of its boxes."""
        mirrored = (View(flip=True),) if self.flip else ()
        return tuple(View(crop=number, flip=self.flip) for number in range(self.crops)) or mirrored


def view_files(data: bytes, views: Sequence[View], key: str) -> list[bytes]:
    """A file, lossless, of each view of the picture in the file `data`; `key`, the picture's id, decides its crops.

    b"" for a box without a pixel of the picture. Raises UnreadableImageError for bytes that do not decode.
    """
    picture = open_rgb(data)
    files = []
    for view in views:
        file = BytesIO()
        if (shown := _seen(picture, view, key)) is not None:
            shown.save(file, "BMP")  # made and read again in no time
        files.append(file.getvalue())
    return files


def box_views(value: object) -> list[View | BoxError]:
    """The view of each box of a list, which may be written as JSON, or why it is none; nothing for null."""
    boxes = value
    if isinstance(value, str):
        try:
            boxes = json.loads(value)
        except (ValueError, RecursionError):
            boxes = [value]
    listing = [] if boxes is None else boxes if isinstance(boxes, list) else [boxes]
    return [_box_view(box) for box in listing]


def _box_view(value: object) -> View | BoxError:
    """The view of the box that a column holds, [x0, y0, x1, y1], or why it is none."""
    sides = tuple(value) if isinstance(value, list | tuple) else ()
    if not (len(sides) == 4 and all(isinstance(side, int | float) and abs(side) < _FAR for side in sides)):
        return BoxError(f"`box` must be four numbers, x0, y0, x1, y1; got {str(value)[:80]}. Correct the column.")
    x0, y0, x1, y1 = map(float, sides)
    if not (x0 < x1 and y0 < y1):
        return BoxError(f"`box` must have x0 < x1 and y0 < y1; got {sides}. Give corners, not width and height.")
    return View(box=(x0, y0, x1, y1))


def _seen(picture: Image.Image, view: View, key: str) -> Image.Image | None:
    place, is_mirrored = (0, 0, *picture.size), view.flip
    if view.crop is not None:
        place = _crop(picture.size, key, view.crop)
        is_mirrored = view.flip and _draw(key, view.crop, "flip") < 0.5
    elif view.quarter is not None:
        place = _quarter(picture.size, view.quarter)
    elif view.box is not None:
        place = _touched(picture.size, view.box)
    if place[0] >= place[2] or place[1] >= place[3]:
        return None
    cropped = picture.crop(place)
    return cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if is_mirrored else cropped


def _crop(size: tuple[int, int], key: str, number: int) -> tuple[int, int, int, int]:
    """The place of a crop, as RandomResizedCrop of torchvision draws it: left, upper, right, lower."""
    width, height = size
    least, most = (math.log(ratio) for ratio in RATIOS)
    for tried in range(_TRIES):
        drawn = {name: _draw(key, number, f"{name} {tried}") for name in ("area", "ratio", "x", "y")}
        area = width * height * (AREAS[0] + (AREAS[1] - AREAS[0]) * drawn["area"])
        ratio = math.exp(least + (most - least) * drawn["ratio"])
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            x, y = int(drawn["x"] * (width - wide + 1)), int(drawn["y"] * (height - high + 1))
            return x, y, x + wide, y + high
    ratio = min(max(width / height, RATIOS[0]), RATIOS[1])  # a strip: its middle
    wide, high = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
    x, y = (width - wide) // 2, (height - high) // 2
    return x, y, x + wide, y + high


def _quarter(size: tuple[int, int], number: int) -> tuple[int, int, int, int]:
    """The place of a quarter, from the upper left one row after row; a pixel in the middle belongs to both sides."""
    (left, right), (upper, lower) = ((((side + 1) // 2), side // 2) for side in size)
    x0, x1 = (right, size[0]) if number % 2 else (0, left)
    y0, y1 = (lower, size[1]) if number // 2 else (0, upper)
    return x0, y0, x1, y1


def _touched(size: tuple[int, int], box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """The pixels that a box touches; none where it lies beside the picture."""
    x0, y0, x1, y1 = box
    return max(0, math.floor(x0)), max(0, math.floor(y0)), min(size[0], math.ceil(x1)), min(size[1], math.ceil(y1))


def _draw(key: str, number: int, name: str) -> float:
    """A number in [0, 1), by hash."""
    digest = hashlib.blake2b(f"view\0{key}\0{number}\0{name}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
