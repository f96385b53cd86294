"""The arrays that a file of features may hold: what each is made of, and which of their axes are the same."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.storage.errors import InputError

Array = npt.NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]

PARTS = ("train", "val", "test")
UNIT_TOLERANCE = 1e-3  # the one of adapters: unit rows rounded to half precision pass
_BLOCK_ROWS = 65_536
_CLASSES = "classes"
_DIMENSION = "columns"


@dataclass(frozen=True)
class ArrayKey:
    """The kind of an array, its axes by name (one size each in a file), and the arrays it means nothing without.

    `kind` is unit rows (floats of length 1 along the last axis), floats, lengths (floats above 0), classes (positions
    in the class list) or names (text or whole numbers).
    """

    kind: str
    axes: tuple[str, ...]
    requires: tuple[str, ...] = ()


def _part_keys(part: str) -> Iterator[tuple[str, ArrayKey]]:
    rows, features = f"{part} rows", (f"{part}_features",)
    yield f"{part}_features", ArrayKey("unit rows", (rows, _DIMENSION))
    yield f"{part}_labels", ArrayKey("classes", (rows,), features)
    yield f"{part}_values", ArrayKey("floats", (rows,), features)
    yield f"{part}_groups", ArrayKey("names", (rows,), features)
    yield f"{part}_ids", ArrayKey("names", (rows,), features)
    yield f"{part}_captions", ArrayKey("names", (rows,), features)
    yield f"{part}_norms", ArrayKey("lengths", (rows,), features)
    yield f"{part}_caption_features", ArrayKey("unit rows", (rows, _DIMENSION), features)
    yield f"aux_{part}_features", ArrayKey("unit rows", (rows, "auxiliary columns"), features)


def _pool_keys(pool: str) -> Iterator[tuple[str, ArrayKey]]:
    rows, features = f"{pool} rows", (f"{pool}_features",)
    yield f"{pool}_features", ArrayKey("unit rows", (rows, _DIMENSION))
    yield f"aux_{pool}_features", ArrayKey("unit rows", (rows, "auxiliary columns"), features)
    if pool != "unlabelled":
        yield f"{pool}_norms", ArrayKey("lengths", (rows,), features)


def _pair_keys() -> Iterator[tuple[str, ArrayKey]]:
    rows, features = "pair rows", ("image_features",)
    yield "image_features", ArrayKey("unit rows", (rows, _DIMENSION))
    yield "caption_features", ArrayKey("unit rows", (rows, _DIMENSION), features)
    yield "norms", ArrayKey("lengths", (rows,), features)
    for name in ("ids", "captions", "labels", "groups"):
        yield name, ArrayKey("names", (rows,), features)


ARRAY_KEYS: Mapping[str, ArrayKey] = {
    **{key: rule for part in PARTS for key, rule in _part_keys(part)},
    "train_views": ArrayKey("unit rows", ("views", "train rows", _DIMENSION), ("train_features",)),
    "prototypes": ArrayKey("unit rows", (_CLASSES, _DIMENSION)),
    "classes": ArrayKey("names", (_CLASSES,), ("prototypes",)),
    "negation_prototypes": ArrayKey("unit rows", (_CLASSES, _DIMENSION), ("prototypes",)),
    "context_prototypes": ArrayKey("unit rows", ("contexts", _CLASSES, _DIMENSION), ("prototypes",)),
    "rejection_prototypes": ArrayKey("unit rows", ("rejection texts", _DIMENSION)),
    "rejection_names": ArrayKey("names", ("rejection texts",), ("rejection_prototypes",)),
    "class_texts": ArrayKey("unit rows", ("class texts", _DIMENSION), ("prototypes", "class_text_labels")),
    "class_text_labels": ArrayKey("classes", ("class texts",), ("class_texts",)),
    "descriptor_texts": ArrayKey(
        "unit rows", ("descriptor texts", _DIMENSION), ("prototypes", "descriptor_text_labels")
    ),
    "descriptor_text_labels": ArrayKey("classes", ("descriptor texts",), ("descriptor_texts",)),
    "pair_texts": ArrayKey("unit rows", ("pair texts", _DIMENSION), ("prototypes", "pair_text_classes")),
    "pair_text_classes": ArrayKey("classes", ("pair texts", "2"), ("pair_texts",)),
    **{key: rule for pool in ("unlabelled", "ood", "near_ood") for key, rule in _pool_keys(pool)},
    **dict(_pair_keys()),
    "encoder": ArrayKey("names", ("3",)),
    "aux_encoder": ArrayKey("names", ("3",), ("aux_train_features",)),
}
"""All that a file may hold. `ood` are rows of none of the classes, `near_ood` of classes close to them.

`image_features`, `caption_features` and what stands beside them are pairs; `labels` are names.

`encoder`, and `aux_encoder` of the second backbone, are three texts: model, weights ("" where it needs none) and
identity of what made the rows.
"""

_DTYPES = {"unit rows": "f", "floats": "f", "lengths": "f", "classes": "iu", "names": "Uiu"}
_REMEDIES = {
    "f": "floats (float16, float32 or float64)",
    "iu": "whole numbers, each the position of a class in `prototypes`",
    "Uiu": "text or whole numbers",
}

_CONVERSIONS = {"f": "float32", "iu": "int64", "Uiu": "str"}


def check_keys(keys: Collection[str], required: Collection[str]) -> None:
    """Refuse names that mean nothing, and a file that lacks what is `required` or what its own arrays rest on."""
    unknown = sorted(key for key in keys if key not in ARRAY_KEYS)
    if unknown:
        shown = ", ".join(f"`{key[:60]!s}`" for key in unknown[:5])
        raise InputError(f"keys must be of those known; got {shown}. Known: {', '.join(ARRAY_KEYS)}. Rename or remove.")
    for key in (*required, *keys):
        missing = [needed for needed in ARRAY_KEYS[key].requires if needed not in keys]
        if key not in keys:
            raise InputError(f"`{key}` must be there; got none among {', '.join(sorted(keys)) or 'no keys'}. Add it.")
        if missing:
            raise InputError(f"`{key}` must come with `{missing[0]}`; got none. Add `{missing[0]}`, or remove `{key}`.")


def check_dtype(key: str, dtype: "np.dtype[Any]") -> None:
    """Refuse what is not made of the key's kind of values."""
    kinds = _DTYPES[ARRAY_KEYS[key].kind]
    if dtype.hasobject or dtype.kind == "T":
        raise InputError(f"`{key}` must hold plain values; got Python objects. {_conversion(key, kinds, text=True)}")
    if dtype.kind not in kinds:
        text = dtype.kind in "SU"
        raise InputError(f"`{key}` must hold {_REMEDIES[kinds]}; got {dtype}. {_conversion(key, kinds, text=text)}")


def _conversion(key: str, kinds: str, *, text: bool) -> str:
    if text and kinds == "iu":
        position = f"[classes.index(name) for name in {key}]"
        return f"Save `{position}`, `classes` the list of names in the order of `prototypes`."
    kind = _CONVERSIONS[kinds]
    return f"Save it with `.astype({kind if kind == 'str' else repr(kind)})`."


def check_shapes(shapes: Shapes) -> None:
    """Refuse other numbers of axes, empty classes or columns, and axes that disagree; ARRAY_KEYS' order decides."""
    sizes: dict[str, tuple[int, str]] = {}
    for key, rule in ARRAY_KEYS.items():
        if key not in shapes:
            continue
        shape = shapes[key]
        if len(shape) != len(rule.axes):
            raise InputError(f"`{key}` must have the axes ({', '.join(rule.axes)}); got shape {shape}. Reshape it.")
        for axis, size in zip(rule.axes, shape, strict=True):
            expected, owner = (int(axis), key) if axis.isdigit() else sizes.setdefault(axis, (size, key))
            if size != expected:
                comparison = "" if owner == key else f", as many as `{owner}`"
                noun = axis if not axis.isdigit() else "columns" if len(shape) > 1 else "values"
                raise InputError(
                    f"`{key}` must have {expected} {noun}{comparison}; got {size}, "
                    f"shape {shape}. Hand in arrays of the same images, classes and encoder."
                )
            if size == 0 and not axis.endswith("rows"):
                raise InputError(f"`{key}` must have at least 1 of {axis}; got shape {shape}. Fill it or leave it out.")


def converted(key: str, array: Array) -> Array:
    """The array as adapters take it: floats as float32, class positions as int64, names as text; C-contiguous."""
    kind = ARRAY_KEYS[key].kind
    if kind == "names":
        return np.ascontiguousarray(array.astype(np.str_))
    if kind == "classes":
        largest = array.dtype.type(min(np.iinfo(np.int64).max, np.iinfo(array.dtype).max))
        return np.ascontiguousarray(np.minimum(array, largest), dtype=np.int64)
    with np.errstate(over="ignore"):  # too large for float32 is infinite, which `check_values` names
        return np.ascontiguousarray(array, dtype=np.float32)


def check_values(key: str, array: Array, n_classes: int | None, *, any_length: bool = False) -> None:
    """Refuse NaN and infinity, rows that are not of unit length, lengths of 0, and positions outside the class list.

    With `any_length` rows may be of any length above 0.
    """
    kind = ARRAY_KEYS[key].kind
    if kind == "names" or not array.size:
        return
    if kind == "classes":
        bad = np.argwhere((array < 0) | (array >= (n_classes or np.iinfo(np.int64).max)))
        rule = "be at least 0" if n_classes is None else f"lie in 0 to {n_classes - 1}, the classes of `prototypes`"
        _refuse(key, array, bad, rule, "Leave rows without a class out, and check the class list.")
        return
    _refuse(key, array, np.argwhere(~np.isfinite(array)), "be finite", "Extract these rows again or leave them out.")
    if kind == "lengths":
        _refuse(key, array, np.argwhere(array <= 0), "be above 0", "Leave images without a feature out.")
    elif kind == "unit rows":
        lengths = _lengths(array)
        if any_length:
            _refuse(key, lengths, np.argwhere(lengths <= 0), "have rows longer than 0", "Leave these rows out.")
            return
        remedy = "Divide each row by its length: `--normalise` does, and keeps the lengths for methods that need them."
        _refuse(key, lengths, np.argwhere(np.abs(lengths - 1) > UNIT_TOLERANCE), "have rows of length 1", remedy)


def _refuse(key: str, values: Array, bad: Array, rule: str, remedy: str) -> None:
    if len(bad):
        place, value = ", ".join(str(index) for index in bad[0]), values[tuple(bad[0])].item()
        raise InputError(f"`{key}` must {rule}; got {value:.6g} at [{place}] ({len(bad)} such). {remedy}")


def _lengths(array: Array) -> Array:
    """Lengths along the last axis, float64, without a float64 copy of the whole."""
    rows = array.reshape(-1, array.shape[-1])
    starts = range(0, len(rows), _BLOCK_ROWS)
    blocks = [np.linalg.norm(rows[start : start + _BLOCK_ROWS].astype(np.float64), axis=1) for start in starts]
    return np.concatenate(blocks).reshape(array.shape[:-1])
