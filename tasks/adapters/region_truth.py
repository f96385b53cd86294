"""The truth about regions of drawn pictures, read from a ground or a folder of scenes."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from evenly.adapters.evaluation.regions.truth import RegionTruth
from evenly.adapters.features import Booleans
from evenly.features.dense.regions import decoded_mask, encoded_mask
from evenly.storage.errors import InputError

_COLUMNS = ("sha256", "part", "width", "height", "things", "objects", "defects", "mask")
_BOX = ("x0", "y0", "x1", "y1")


def read_region_truth(folders: Sequence[Path]) -> RegionTruth:
    """The objects of the pictures of folders with a truth.parquet, one folder after another.

    Raises InputError where a folder has none, or a mask is not of its picture.
    """
    pictures = []
    for folder in folders:
        try:
            path = folder / "truth.parquet"
            further = {"group"} & set(pq.read_schema(path).names)
            stored = pq.read_table(path, columns=[*_COLUMNS, *further]).to_pylist()
            pictures += [row | {"masks": _masks(row)} for row in stored]
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                f"`folder` must hold a truth.parquet as docs/scenes.md says; got `{folder}` ({error}). Draw it again."
            ) from error
    rows = [(place, row, number) for place, row in enumerate(pictures) for number in range(len(row["objects"]))]
    objects = [row["objects"][number] for _, row, number in rows]
    things = [row["things"][drawn["thing"]] for (_, row, _), drawn in zip(rows, objects, strict=True)]
    defects = [(place, defect) for place, row in enumerate(pictures) for defect in row["defects"]]
    sizes = np.array([(row["height"], row["width"]) for row in pictures], np.int64).reshape(-1, 2)

    def decode(counts: str, picture: int) -> Booleans:
        height, width = (int(side) for side in sizes[picture])
        return decoded_mask(counts, (width, height)) if counts else np.zeros((height, width), np.bool_)

    return RegionTruth(
        images=_words([row["sha256"] for row in pictures]),
        parts=_words([row["part"] for row in pictures]),
        groups=_words([row.get("group") or row["objects"][0]["code"] for row in pictures]),
        sizes=sizes,
        picture=np.array([place for place, _, _ in rows], np.int64),
        boxes=_boxes(objects),
        masks=_words([row["masks"][number] for _, row, number in rows]),
        labels=_words([thing["name"] for thing in things]),
        kinds=_words([next(iter(thing["kinds"]), "") for thing in things]),
        colours=_words([drawn["colour"] or "" for drawn in objects]),
        codes=_words([drawn["code"] for drawn in objects]),
        defects=np.array([place for place, _ in defects], np.int64),
        defect_boxes=_boxes([defect for _, defect in defects]),
        decode=decode,
    )


def _masks(row: dict[str, Any]) -> list[str]:
    """The run lengths of each object's mask; the value of a pixel is an object's place plus 1."""
    with Image.open(io.BytesIO(row["mask"])) as opened:
        if opened.size != (row["width"], row["height"]):
            raise ValueError(f"a mask of {opened.size} pixels")
        owners = np.asarray(opened)
    return [encoded_mask(owners == number + 1) for number in range(len(row["objects"]))]


def _boxes(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.array([[row[side] for side in _BOX] for row in rows], np.float64).reshape(-1, 4)


def _words(values: Sequence[str]) -> np.ndarray:
    return np.array(values, object)
