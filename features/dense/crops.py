"""Crops of regions, to be encoded: what lies in the box, or the region's own pixels alone.

OVSeg (Liang et al. 2023, arXiv:2210.04150; facebookresearch/ov-seg 36f49d4) fills in the mean colour of preprocessing
outside the mask and presses each box into a square. Here crops keep their ratio, and where an encoder pads pictures,
its own colour of padding fills.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from PIL import Image

from evenly.features.dense.regions import Regions, decoded_mask
from evenly.features.dense.rows import unit_length
from evenly.features.encoder import Encoder, OpenClipEncoder
from evenly.features.pictures.rgb import open_rgb
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.unit_rows import Single

Colour = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CropRule:
    """Crops of regions. masked: pixels outside the mask, where there is one, are filled.

    expand: the box's width and height are so many times as long, about its middle.
    """

    masked: bool = True
    expand: Annotated[float, Ge(1), Le(8)] = 1.0


def crop_rows(encoder: Encoder, images: Sequence[bytes], regions: Regions, rule: CropRule) -> Single:
    """Unit rows (m, d) of the crops of regions of pictures; zeros where `region_crops` has none."""
    places = list[int]()

    def crops() -> Iterator[Image.Image]:
        for place, crop in enumerate(region_crops(images, regions, rule, fill=fill_colour(encoder))):
            if crop is not None:
                places.append(place)
                yield crop

    encoded = unit_length(encoder.encode_images(crops()))
    rows = np.zeros((len(regions), encoded.shape[1]), np.float32)
    rows[places] = encoded
    return rows


def fill_colour(encoder: object) -> Colour:
    """The colour that an encoder pads pictures with, else the one that its preprocessing makes 0; grey of no facts."""
    base = encoder.base if isinstance(encoder, RefinedEncoder) else encoder
    facts = base.facts["preprocessing"] if isinstance(base, OpenClipEncoder) else {}
    if facts.get("resize_mode") == "longest":
        return (int(facts["fill_color"]),) * 3
    return tuple(round(255 * float(share)) for share in facts.get("mean", (0.5, 0.5, 0.5)))


def region_crops(
    images: Sequence[bytes], regions: Regions, rule: CropRule, *, fill: Colour
) -> Iterator[Image.Image | None]:
    """The crop of each region; None for one that does not count or has no pixel within its picture.

    Raises UnreadableImageError for bytes that do not decode, and RowsError for a mask of another picture's size.
    """
    opened, picture = -1, Image.new("RGB", (1, 1))
    for row in range(len(regions)):
        if regions.reasons[row]:
            yield None
            continue
        if opened != regions.picture[row]:
            opened = int(regions.picture[row])
            picture = open_rgb(images[opened])
        place = _touched(picture.size, regions.boxes[row].tolist(), rule.expand)
        crop = None if place is None else picture.crop(place)
        if crop is not None and rule.masked and regions.masks[row]:
            mask = Image.fromarray(decoded_mask(regions.masks[row], picture.size)).crop(place)
            crop = Image.composite(crop, Image.new("RGB", crop.size, fill), mask) if mask.getbbox() else None
        yield crop


def _touched(size: tuple[int, int], box: Sequence[float], expand: float) -> tuple[int, int, int, int] | None:
    """The pixels that an expanded box touches; None where there are none."""
    x0, y0, x1, y1 = box
    if not (all(map(math.isfinite, box)) and x0 < x1 and y0 < y1):
        return None
    wide, high = (x1 - x0) * (expand - 1) / 2, (y1 - y0) * (expand - 1) / 2
    left, upper = max(0, math.floor(x0 - wide)), max(0, math.floor(y0 - high))
    right, lower = min(size[0], math.ceil(x1 + wide)), min(size[1], math.ceil(y1 + high))
    return (left, upper, right, lower) if left < right and upper < lower else None
