"""The card of an adapter that was fitted on a file of features: encoder, classes, split, and the file it came from."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evenly.adapters.own_features.arrays import class_names_in
from evenly.storage.code_version import code_version
from evenly.storage.files.array_keys import PARTS
from evenly.storage.records import content_hash
from evenly.storage.tables.hashing import file_hash

Arrays = Mapping[str, np.ndarray]
SPLIT_KEYS = ("features", "labels", "values", "groups")
OF_RESULT = ("chosen", "given", "why", "fallback", "notes", "metrics", "seed")
"""Of the result of a fit, as the card has it too."""


def fitted_card(path: Path, arrays: Arrays, result: Mapping[str, Any], *, normalise: bool) -> dict[str, Any]:
    """`encoder` and `second` (None where the file does not say), `classes` with their hash, `lineage`, and OF_RESULT.

    `split_hash` is one hash over which rows lie in which part, under which labels or values and groups; no other array
    enters.
    """
    classes = class_names_in(arrays)
    keys = [f"{part}_{key}" for part in PARTS for key in SPLIT_KEYS]
    return {
        "encoder": _encoder(arrays, "encoder"),
        "second": _encoder(arrays, "aux_encoder"),
        "classes": classes,
        "class_list_hash": content_hash(classes),
        "lineage": {
            "file": path.name,
            "sha256": file_hash(path),
            "shapes": {name: str(array.shape) for name, array in arrays.items()},
            "normalised": normalise,
            "code": code_version(),
        },
        "split_hash": content_hash({key: _array_hash(arrays[key]) for key in keys if key in arrays}),
        **{name: result[name] for name in OF_RESULT},
        "chosen_on": "validation",
    }


def _encoder(arrays: Arrays, key: str) -> dict[str, Any] | None:
    if key not in arrays:
        return None
    model, pretrained, identity = (str(text) for text in arrays[key])
    return {"model": model, "pretrained": pretrained or None, "identity": identity}


def _array_hash(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()).hexdigest()
