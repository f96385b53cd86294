"""Regions that a source gives of a picture: a column's boxes, COCO's annotations, a detector's or an endpoint's answer.

What it gives is one of these, or JSON of it: a list of boxes [x0, y0, x1, y1]; of entries in COCO's form, `bbox` (x, y,
width, height; `box` for corners, `box_2d` for y0, x0, y1, x1 in thousandths of the picture), `segmentation` (run
lengths or polygons; `mask` for compressed run lengths alone, as exports have them), `category`, `category_name` or
`label`, `phrase` or `caption`, `attributes`, `score`; lists of each such field; or `annotations` with their
`categories`.

An entry that is no region of its picture stays, with a word for it: not_regions, too_many_regions (all of the picture);
not_a_region, bad_text, not_a_score, not_a_box, outside, bad_mask, mask_of_another_size, empty_mask, long_polygons, and
crowd, COCO's mark of many things. A box partly outside is cut at the picture's edge, and so is a mask of polygons.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from evenly.features.dense.regions import BOX_DIGITS, Regions, run_lengths

Entry = dict[str, Any]
"""A region as `Regions.from_rows` takes it."""
Size = tuple[int, int]
"""Width and height of a picture, in pixels."""

MOST_REGIONS, MOST_TEXT, MOST_CHARACTERS = 1_000, 500, 4_000_000
"""Regions of a picture, characters of a label or phrase, and of the whole as JSON."""
MOST_LENGTH = 2_000_000
"""Pixels around all polygons of a picture."""
_FAR = 16  # sides of the picture: corners of polygons further away are errors
_BOXES = ("bbox", "box", "box_2d")
_LABELS, _PHRASES = ("category", "category_name", "label"), ("phrase", "caption")


class _RefusedError(Exception):
    """A reason why an entry does not count."""


def stated_regions(values: Sequence[object], sizes: Sequence[Size], *, source: str) -> Regions:
    """The regions of pictures: what `source` gives of each, and the picture's size as it stands upright."""
    rows: list[Entry] = []
    for picture, (value, size) in enumerate(zip(values, sizes, strict=True)):
        rows += ({**entry, "picture": picture, "source": source} for entry in region_entries(value, size))
    return Regions.from_rows(rows)


def region_entries(value: object, size: Size) -> list[Entry]:
    """The regions of a picture of that size; none for null."""
    items, categories = _items(value)
    if items is None:
        return [{"reason": "not_regions"}]
    if len(items) > MOST_REGIONS:
        return [{"reason": "too_many_regions"}]
    reader = _Reader(size, categories)
    return [reader.entry(item) for item in items]


def count_beyond(value: object, size: Size) -> int:
    """The entries whose box ends over a pixel to the right of, or below, a picture of that size, if turned as well."""
    corners = list[tuple[float, ...]]()
    for item in _items(value)[0] or ():
        fields = {"box": item} if isinstance(item, list) else item
        with suppress(_RefusedError):
            corners.append(((_stated_box(fields, size) if isinstance(fields, Mapping) else None) or (0.0,) * 4)[2:])
    return sum(not any(x <= wide + 1 and y <= high + 1 for wide, high in (size, size[::-1])) for x, y in corners)


def _items(value: object) -> tuple[Sequence[object] | None, object]:
    """The entries of what a source gives, None where it has none, and its categories."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if len(value) <= MOST_CHARACTERS else 0
        except (ValueError, RecursionError):
            value = 0
    if not isinstance(value, Mapping):
        return ([] if value is None else value if isinstance(value, list) else None), None
    if "annotations" in value:
        annotations = value["annotations"] or []
        return (annotations if isinstance(annotations, list) else None), value.get("categories")
    columns = {name: column for name, column in value.items() if isinstance(column, list)}
    boxes = columns.get("bbox", columns.get("box"))
    if boxes is not None and all(isinstance(box, list) for box in boxes):
        is_table = all(len(column) == len(boxes) for column in columns.values())
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=False)]
        return (rows if is_table else None), None
    return [value], None


class _Reader:
    """Reads the entries of a picture, whose polygons have a length together."""

    def __init__(self, size: Size, categories: object) -> None:
        self._size, self._left = size, float(MOST_LENGTH)
        listing = [entry for entry in categories if isinstance(entry, Mapping)] if isinstance(categories, list) else []
        self._names = {str(entry.get("id")): entry.get("name") for entry in listing}

    def entry(self, item: object) -> Entry:
        """The region of an entry, with what can be read of it before the reason why it does not count."""
        fields = {"box": item} if isinstance(item, list) else item
        if not isinstance(fields, Mapping):
            return {"reason": "not_a_region"}
        region: Entry = {}
        try:
            region["label"] = self._label(fields)
            region["phrase"] = _phrase(fields, region["label"])
            region |= _attributes(fields.get("attributes"))
            region |= {} if fields.get("score") is None else {"score": _number(fields["score"], "not_a_score")}
            box = _stated_box(fields, self._size)
            if segmentation := fields.get("segmentation") or self._of_mask(fields.get("mask")):
                region["mask"], covered = self._mask(segmentation)
                box = covered if box is None else box
            region["box"] = self._clipped(box)
            if fields.get("iscrowd") in (1, True):
                region["reason"] = "crowd"
        except _RefusedError as refusal:
            region["reason"] = str(refusal)
        return region

    def _label(self, fields: Mapping[str, object]) -> str:
        label = next((fields[name] for name in _LABELS if fields.get(name) is not None), None)
        number = fields.get("category_id")
        return _text(self._names.get(str(number), number) if label is None else label)

    def _clipped(self, box: Sequence[float] | None) -> tuple[float, ...]:
        if box is None or not (box[0] < box[2] and box[1] < box[3]):
            raise _RefusedError("not_a_box")
        inside = tuple(
            round(min(max(side, 0), self._size[axis % 2]), BOX_DIGITS) + 0.0 for axis, side in enumerate(box)
        )
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            raise _RefusedError("outside")
        return inside

    def _of_mask(self, counts: object) -> Entry:
        """The segmentation that run lengths of a picture stand for; empty for what is no text."""
        return {"counts": counts, "size": [*reversed(self._size)]} if counts and isinstance(counts, str) else {}

    def _mask(self, segmentation: object) -> tuple[str, tuple[float, ...]]:
        """Compressed run lengths, and the box of what they cover."""
        from pycocotools import mask as coco

        width, height = self._size
        checked = self._lengths(segmentation) if isinstance(segmentation, Mapping) else self._polygons(segmentation)
        stored: Any = coco.frPyObjects(checked, height, width)
        stored = coco.merge(stored) if isinstance(stored, list) else stored
        if not coco.area(stored):
            raise _RefusedError("empty_mask")
        x, y, wide, high = (float(side) for side in coco.toBbox(stored))
        return stored["counts"].decode("ascii"), (x, y, x + wide, y + high)

    def _lengths(self, segmentation: Mapping[str, object]) -> Entry:
        """Run lengths that fill the picture: pycocotools takes them on trust."""
        counts, (width, height) = segmentation.get("counts"), self._size
        text = counts.decode("ascii", "replace") if isinstance(counts, bytes) else counts
        lengths = run_lengths(text) if isinstance(text, str) else text
        if not isinstance(lengths, list) or not all(type(length) is int and length >= 0 for length in lengths):
            raise _RefusedError("bad_mask")
        if segmentation.get("size") != [height, width] or sum(lengths) != width * height:
            raise _RefusedError("mask_of_another_size")
        return {"counts": lengths, "size": [height, width]}

    def _polygons(self, segmentation: object) -> list[list[float]]:
        """Polygons of x and y in turn, whose sides pycocotools may walk."""
        listing = segmentation if isinstance(segmentation, list) else []
        polygons = listing if any(isinstance(polygon, list) for polygon in listing) else [listing]
        if not all(isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons):
            raise _RefusedError("bad_mask")
        numbers = [[_number(side, "bad_mask", _FAR * max(self._size)) for side in polygon] for polygon in polygons]
        for corners in (np.reshape(polygon, (-1, 2)) for polygon in numbers):
            self._left -= float(np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1).sum())
        if self._left < 0:
            raise _RefusedError("long_polygons")
        return numbers


def _stated_box(fields: Mapping[str, object], size: Size) -> tuple[float, ...] | None:
    """The corners of an entry's box; None where it has none."""
    name = next((name for name in _BOXES if fields.get(name) is not None), "box")
    sides = fields.get(name)
    if sides is None:
        return None
    if not isinstance(sides, list) or len(sides) != 4:
        raise _RefusedError("not_a_box")
    x, y, wide, high = (_number(side, "not_a_box") for side in sides)
    if name == "box_2d":
        return y * size[0] / 1000, x * size[1] / 1000, high * size[0] / 1000, wide * size[1] / 1000
    return (x, y, x + wide, y + high) if name == "bbox" else (x, y, wide, high)


def _attributes(value: object) -> Entry:
    """The attributes of an entry: 1 of each of a list, and of a mapping 1 or 0 by its truth, or 1 of its word."""
    stated = [(name, 1.0) for name in value] if isinstance(value, list) else []
    for name, word in value.items() if isinstance(value, Mapping) else ():
        stated += [(name, float(word))] if isinstance(word, bool) else [(word, 1.0)]
    truths = {_text(name): truth for name, truth in stated if isinstance(name, str) and name.strip()}
    return {"attributes": truths} if truths else {}


def _phrase(fields: Mapping[str, object], label: str) -> str:
    """The phrase or caption of an entry; else its attributes before its label, "red, small cup"."""
    phrase = next((fields[name] for name in _PHRASES if fields.get(name) is not None), None)
    if phrase is not None:
        return _text(phrase)
    attributes = fields.get("attributes")
    listing = [*attributes.values()] if isinstance(attributes, Mapping) else attributes
    words = [word for word in listing if isinstance(word, str) and word.strip()] if isinstance(listing, list) else []
    return _text(f"{', '.join(words)} {label}") if words else ""


def _text(value: object) -> str:
    """A text in one line, without what is no Unicode; a number in digits."""
    if value is None:
        return ""
    if not isinstance(value, str) and type(value) not in (int, float):
        raise _RefusedError("bad_text")
    text = " ".join(str(value).encode("utf-8", "replace").decode().replace("\0", " ").split())
    if len(text) > MOST_TEXT:
        raise _RefusedError("bad_text")
    return text


def _number(value: object, reason: str, most: float = 1e9) -> float:
    """A number, no further from 0 than `most`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= most:
        raise _RefusedError(reason)
    return float(value)
