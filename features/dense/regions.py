"""Regions of pictures: boxes and masks with a label, a score, and a reason where one does not count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError

Boxes = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
DIGITS, BOX_DIGITS = 4, 2
"""Decimals to which scores and sides of boxes are stored."""
_MOST_SHIFT = 35


@dataclass(frozen=True, kw_only=True, eq=False)
class Regions:
    """Regions (m) of pictures, those of a picture one after another.

    picture: the place (m,) of each one's picture. boxes: (m, 4), x0, y0, x1, y1 in pixels of the upright picture.
    masks: COCO's compressed run lengths (m,) of the picture's size, "" where there is none. labels, phrases: the
    thing's name, and the text that describes the region; "" where there is none. scores: (m,), NaN where the source has
    none. sources: a method, `column:NAME`, `detector:NAME` or `endpoint:MODEL`. reasons: why a region does not count,
    "" for one that does. attributes: the probability of each attribute that is known of it, by its name. counts: how
    many things the region is expected to hold, NaN where they are not counted. densities: that number by cell, from
    the top left; () where there is none.
    """

    picture: npt.NDArray[np.int64]
    boxes: Boxes
    masks: npt.NDArray[np.object_]
    labels: npt.NDArray[np.object_]
    phrases: npt.NDArray[np.object_]
    scores: npt.NDArray[np.float64]
    sources: npt.NDArray[np.object_]
    reasons: npt.NDArray[np.object_]
    attributes: npt.NDArray[np.object_]
    counts: npt.NDArray[np.float64]
    densities: npt.NDArray[np.object_]

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if len(values) != len(self.picture):
                raise RowsError(
                    f"`{name}` must have one entry for each region, {len(self.picture)}; got {len(values)}. Hand in "
                    "columns of the same regions."
                )

    def __len__(self) -> int:
        return len(self.picture)

    def __getitem__(self, places: npt.NDArray[Any]) -> "Regions":
        """The regions at `places`."""
        return Regions(**{name: values[places] for name, values in vars(self).items()})

    @property
    def kept(self) -> "Regions":
        """Those that count."""
        return self[np.array([not reason for reason in self.reasons], np.bool_)]

    def of_picture(self, place: int) -> "Regions":
        """The regions of the picture at `place`, which becomes the first of one."""
        of_one = self[self.picture == place]
        return Regions(**vars(of_one) | {"picture": np.zeros(len(of_one), np.int64)})

    @classmethod
    def from_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "Regions":
        """Regions of entries as `rows` gives them; fields that one lacks have their default."""
        listed = [_DEFAULTS | dict(row) for row in rows]
        column: dict[str, npt.NDArray[Any]] = {
            f"{name}s": np.array([row[name] for row in listed] or [], object) for name in _WORDS
        }
        return cls(
            picture=np.array([row["picture"] for row in listed], np.int64),
            boxes=np.array([row["box"] for row in listed], np.float64).reshape(-1, 4).round(BOX_DIGITS) + 0.0,
            scores=np.array([row["score"] for row in listed], np.float64).round(DIGITS) + 0.0,
            counts=np.array([row["count"] for row in listed], np.float64).round(DIGITS) + 0.0,
            attributes=_objects([_rounded(row["attributes"]) for row in listed]),
            densities=_objects([tuple(round(float(value), DIGITS) for value in row["density"]) for row in listed]),
            phrases=column["phrases"],
            masks=column["masks"],
            labels=column["labels"],
            sources=column["sources"],
            reasons=column["reasons"],
        )

    @classmethod
    def concatenated(cls, parts: "Sequence[Regions]") -> "Regions":
        """All regions of `parts`, whose pictures are counted alike, sorted by picture."""
        if not parts:
            return cls.from_rows([])
        columns = {entry.name: np.concatenate([getattr(part, entry.name) for part in parts]) for entry in fields(cls)}
        regions = cls(**columns)
        return regions[np.argsort(regions.picture, kind="stable")]

    def rows(self) -> list[dict[str, Any]]:
        """The regions as entries that JSON can hold, as `from_rows` reads them, without fields of no value."""
        return [
            {
                "picture": int(self.picture[row]),
                "box": [float(side) for side in self.boxes[row]],
                **{name: str(getattr(self, f"{name}s")[row]) for name in _WORDS if getattr(self, f"{name}s")[row]},
                **{
                    name: float(values[row])
                    for name, values in (("score", self.scores), ("count", self.counts))
                    if not np.isnan(values[row])
                },
                **({"attributes": dict(self.attributes[row])} if self.attributes[row] else {}),
                **({"density": list(self.densities[row])} if self.densities[row] else {}),
            }
            for row in range(len(self))
        ]


_WORDS = ("mask", "label", "phrase", "source", "reason")
_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(_WORDS, ""),
    "picture": 0,
    "box": (0.0, 0.0, 0.0, 0.0),
    "score": np.nan,
    "count": np.nan,
    "attributes": {},
    "density": (),
}


def _rounded(attributes: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(score), DIGITS) for name, score in attributes.items()}


def _objects(values: Sequence[object]) -> npt.NDArray[np.object_]:
    """Values (m,), each as it is, whatever length it has."""
    objects = np.empty(len(values), object)
    objects[:] = values
    return objects


def encoded_mask(mask: Mask) -> str:
    """COCO's compressed run lengths of a mask (height, width)."""
    from pycocotools import mask as coco

    counts: bytes = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return counts.decode("ascii")


def decoded_mask(counts: str, size: tuple[int, int]) -> Mask:
    """The mask (height, width) of run lengths; size: the picture's width and height.

    Decoded here, since pycocotools takes lengths on trust and writes beyond its memory. Raises RowsError for others
    than of that many pixels.
    """
    width, height = size
    lengths = run_lengths(counts)
    if sum(lengths) != width * height or min(lengths, default=0) < 0:
        raise RowsError(
            f"`mask` must have {width * height} pixels, as its picture has; got {sum(lengths)}. Take masks of the "
            "picture as it is stored."
        )
    values = np.arange(len(lengths)) % 2 == 1
    decoded: Mask = np.repeat(values, lengths).reshape(width, height).T
    return decoded


def run_lengths(counts: str) -> list[int]:
    """The lengths that COCO's letters stand for: five bits each, the lowest first; from the third on differences."""
    lengths = list[int]()
    value = shift = 0
    for letter in counts:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > _MOST_SHIFT:
            return [-1]
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return [-1] if shift else lengths


def covered_share(regions: Regions, size: tuple[int, int]) -> float:
    """The share of a picture (width, height) that its regions which count cover together, by masks, else by boxes."""
    from pycocotools import mask as coco

    width, height = size
    counting = regions.kept
    masks = [{"size": [height, width], "counts": counts.encode()} for counts in counting.masks if counts]
    boxes = counting.boxes[[not counts for counts in counting.masks]]
    masks += coco.frPyObjects(np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]), height, width)
    return round(float(coco.area(coco.merge(masks))) / (width * height), 6) if masks else 0.0
