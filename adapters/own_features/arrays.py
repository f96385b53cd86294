"""Feature arrays under the names of `evenly fit --arrays` as records for an adapter: train, validation and test."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.evaluation.protocols.retrieval import RetrievalRows
from evenly.adapters.features import Features, Floats, GroupedFeatures, Integers, checked_labels, unit_rows
from evenly.adapters.own_features.part_checks import (
    POOL,
    absent_classes,
    check_class_names,
    check_groups,
    without_twins,
)
from evenly.adapters.splits import PARTS

Arrays = Mapping[str, npt.NDArray[Any]]

SETS = ("ood", "near_ood")
SHARED = {
    "prototypes": "prototypes",
    "unlabelled": "unlabelled_features",
    "unlabelled_second": "aux_unlabelled_features",
    "class_texts": "class_texts",
    "class_text_labels": "class_text_labels",
    "descriptor_texts": "descriptor_texts",
    "descriptor_text_labels": "descriptor_text_labels",
    "pair_texts": "pair_texts",
    "pair_text_classes": "pair_text_classes",
    "context_prototypes": "context_prototypes",
    "negation_prototypes": "negation_prototypes",
    "rejection_prototypes": "rejection_prototypes",
    "rejection_names": "rejection_names",
}
"""Field of the record: key of the file, for what is not per image."""
ENCODER = "encoder"
"""The key of the encoder that made the features: model, weights, identity."""
PER_IMAGE = {
    "image": "{}_features",
    "norms": "{}_norms",
    "second": "aux_{}_features",
    "views": "{}_views",
    "captions": "{}_caption_features",
}
_INDICES = {"class_text_labels", "descriptor_text_labels", "pair_text_classes"}
_NAMES = {"rejection_names"}
_NOT_UNIT = {"norms", *_INDICES}


class HasRows(Protocol):
    """Rows of a part, of which some can be taken."""

    @property
    def features(self) -> Features:
        """The record."""

    @property
    def groups(self) -> npt.NDArray[Any]:
        """The group of each row (n,)."""

    def rows(self, index: npt.NDArray[np.bool_]) -> Self:
        """The part with some of its rows."""

    def with_features(self, features: Features) -> Self:
        """The part with another record of the same rows."""


P = TypeVar("P", bound=HasRows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """The parts of a file; `val` and `test` are empty where it has none. `unseen`: its out-of-distribution sets.

    `notes`: sentences on rows that were left out and on classes without rows.
    """

    train: GroupedFeatures
    val: GroupedFeatures
    test: GroupedFeatures
    unseen: Mapping[str, Features]
    notes: tuple[str, ...] = ()


def parts_in(arrays: Arrays, *, normalise: bool = False) -> Parts:
    """Records from arrays of the names that docs/adapters.md lists, each error under that name.

    Arrays become float32. Rows that are not of unit length are refused unless `normalise`, which scales them and takes
    their lengths as `norms` where there are none. Groups left out: each row is one of its own. The same holds whatever
    is done with the parts: a group in two of them is refused, and so are class names that are empty or not unique; of
    twins, rows with a cosine over TWIN_COSINE, those stay that are judged last, and `notes` say how many do not.
    """
    require_keys(arrays, ("prototypes", "train_features", "train_labels"))
    classes = class_names_in(arrays)
    check_class_names(classes)
    shared = shared_fields(arrays, normalise=normalise)
    sets = [name for name in SETS if f"{name}_features" in arrays]
    unseen = {name: record_of(arrays, name, shared, normalise=normalise) for name in sets}
    parts, notes = settled(
        arrays, {name: _part(arrays, name, shared, normalise=normalise) for name in PARTS}, unseen=unseen
    )
    filled = {name: part.labels for name, part in parts.items() if len(part.labels)}
    return Parts(**parts, unseen=unseen, notes=(*notes, *absent_classes(filled, classes)))


def settled(
    arrays: Arrays, parts: Mapping[str, P], *, unseen: Mapping[str, Features] | None = None
) -> tuple[dict[str, P], tuple[str, ...]]:
    """The parts without twins of rows that are judged later, and what is said of these; shared groups are refused.

    The pool of the parts loses its twins of judged rows as well.
    """
    check_groups({name: part.groups for name, part in parts.items() if f"{name}_groups" in arrays})
    kept, notes = without_twins(
        {name: part.features.image for name, part in parts.items()},
        judged={name: rows.image for name, rows in (unseen or {}).items()},
        pool=next(iter(parts.values())).features.unlabelled,
    )
    left = {name: part if kept[name].all() else part.rows(kept[name]) for name, part in parts.items()}
    if POOL in kept and not kept[POOL].all():
        left = {name: part.with_features(part.features.pool_rows(kept[POOL])) for name, part in left.items()}
    return left, notes


def class_names_in(arrays: Arrays) -> list[str]:
    """The names of the file's classes; their positions where it names none."""
    if "classes" in arrays:
        return [str(name) for name in arrays["classes"]]
    return [str(place) for place in range(len(arrays["prototypes"]))]


def require_keys(arrays: Arrays, keys: Collection[str]) -> None:
    """Raise MissingFeaturesError naming the first of `keys` that is not there."""
    for key in keys:
        if key not in arrays:
            raise MissingFeaturesError(f"`arrays` must hold `{key}`; got {', '.join(sorted(arrays))}. Add it.")


def shared_fields(arrays: Arrays, *, normalise: bool = False) -> dict[str, Any]:
    """The fields that are not per image."""
    return _fields(arrays, SHARED, normalise=normalise)


def record_of(arrays: Arrays, part: str, shared: Mapping[str, Any], *, normalise: bool = False) -> Features:
    """The record of one part or set, without rows where the file has none; errors name the keys."""
    names = {field: key.format(part) for field, key in PER_IMAGE.items()}
    fields = _fields(arrays, names, normalise=normalise)
    d = int(np.shape(arrays["train_features"])[-1])
    if "image" not in fields:
        fields = {"image": np.empty((0, d), np.float32)}
    elif normalise and "norms" not in fields:
        fields["norms"] = np.linalg.norm(np.asarray(arrays[names["image"]], np.float64), axis=1).astype(np.float32)
    try:
        return Features(**fields, **shared, encoder=encoder_in(arrays))
    except InvalidFeaturesError as error:
        raise InvalidFeaturesError(in_keys(str(error), part)) from None


def groups_of(arrays: Arrays, part: str, n: int) -> npt.NDArray[Any]:
    """The groups (n,) of a part's rows as text; each row is one of its own, a number, where the file names none."""
    groups = np.asarray(arrays[f"{part}_groups"]).astype(np.str_) if f"{part}_groups" in arrays else np.arange(n)
    if groups.shape != (n,):
        raise InvalidFeaturesError(
            f"`{part}_groups` must hold one value per row, shape ({n},); got {groups.shape}. Correct it."
        )
    return groups


def encoder_in(arrays: Arrays) -> str:
    """The identity of what made the features, the last text of `encoder`; "" where the file does not say."""
    return str(arrays[ENCODER][-1]) if ENCODER in arrays else ""


def in_keys(message: str, part: str = "train") -> str:
    """An error's text with the fields of a record under the names that a file has for them."""
    keys = {field: key.format(part) for field, key in PER_IMAGE.items()} | SHARED
    keys |= {"labels": f"{part}_labels", "features": "arrays", "unit_rows": "--normalise"}
    return re.sub(r"`(\w+)`", lambda match: f"`{keys.get(match[1], match[1])}`", message)


def joined_parts(parts: Parts) -> tuple[Features, Integers, npt.NDArray[np.str_], npt.NDArray[Any]]:
    """All parts in one record: features, labels, the part of each row, and its group.

    Groups of different parts stay apart where the file names none. Views, which only train rows have, are left out;
    captions, which adapters read of train rows only, are the images' own rows elsewhere.
    """
    all_parts = [parts.train, parts.val, parts.test]
    split = np.repeat(np.array(PARTS, dtype=np.str_), [len(part.labels) for part in all_parts])
    groups = np.concatenate([_distinct_groups(part.groups, name) for part, name in zip(all_parts, PARTS, strict=True)])
    rows: dict[str, Any] = {}
    for field in ("image", "norms", "second"):
        arrays = [getattr(part.features, field) for part in all_parts]
        if all(array is not None for array, part in zip(arrays, all_parts, strict=True) if len(part.labels)):
            rows[field] = np.concatenate([array for array in arrays if array is not None])
    if parts.train.features.captions is not None:
        judged_images = [part.features.image for part in (parts.val, parts.test)]
        rows["captions"] = np.concatenate([parts.train.features.captions, *judged_images])
    shared = {field: getattr(parts.train.features, field) for field in SHARED}
    record = Features(**rows, **shared, tower=parts.train.features.tower, encoder=parts.train.features.encoder)
    return record, np.concatenate([part.labels for part in all_parts]), split, groups


def _distinct_groups(groups: npt.NDArray[Any], part: str) -> npt.NDArray[np.str_]:
    """Groups as text; numbers, which stand for the rows of a part whose groups have no names, with the part."""
    if groups.dtype.kind == "U":
        return groups
    return np.array([f"{part} {group}" for group in groups.tolist()], dtype=np.str_)


def _part(arrays: Arrays, name: str, shared: Mapping[str, Any], *, normalise: bool) -> GroupedFeatures:
    if f"{name}_features" in arrays and f"{name}_labels" not in arrays:
        raise MissingFeaturesError(
            f"`{name}_labels` must come with `{name}_features`; there are none. Add a class index per row."
        )
    features = record_of(arrays, name, shared, normalise=normalise)
    n_classes = len(features.required_prototypes(adapter="arrays"))
    try:
        labels = checked_labels(
            arrays.get(f"{name}_labels", np.empty(0, np.int64)), n=len(features), n_classes=n_classes
        )
    except InvalidFeaturesError as error:
        raise InvalidFeaturesError(in_keys(str(error), name)) from None
    return GroupedFeatures(features=features, labels=labels, groups=groups_of(arrays, name, len(features)))


def _fields(arrays: Arrays, names: Mapping[str, str], *, normalise: bool) -> dict[str, Any]:
    """The fields that the file holds, in the types of the record."""
    fields: dict[str, Any] = {}
    for field, key in names.items():
        if key not in arrays:
            continue
        array = np.asarray(arrays[key])
        if field in _NAMES:
            fields[field] = tuple(array.astype(np.str_).tolist())
        elif field in _INDICES:
            fields[field] = array.astype(np.int64)
        elif normalise and field not in _NOT_UNIT:
            fields[field] = _scaled(array, key)
        else:
            fields[field] = array.astype(np.float32)
    return fields


def _scaled(array: npt.NDArray[Any], name: str) -> Floats:
    flat = array.reshape(-1, array.shape[-1]) if array.ndim > 2 else array
    return unit_rows(flat, name=name).reshape(array.shape)


def pair_rows_in(arrays: Arrays, part: str | None) -> RetrievalRows:
    """Rows of `image_features` and `caption_features`, or of `{part}_features` and `{part}_caption_features`.

    Captions, labels and groups where the file has them; else each pair has a caption and a group of its own. Equal rows
    are one picture. Raises MissingFeaturesError where the rows are not there.
    """
    prefix = "" if part is None else f"{part}_"
    image, text = (
        ("image_features", "caption_features") if part is None else (f"{prefix}features", f"{prefix}caption_features")
    )
    require_keys(arrays, (image, text))
    n = len(arrays[image])
    row_names = np.arange(n).astype(np.str_)
    labels = arrays.get(f"{prefix}labels", np.full(n, "", np.str_))
    if part is not None and f"{prefix}labels" in arrays:
        labels = np.array(class_names_in(arrays), np.str_)[labels]
    rows = unit_rows(arrays[image])
    pictures = np.unique(rows, axis=0, return_inverse=True)[1].ravel().astype(np.str_)
    return RetrievalRows(
        image=rows,
        text=unit_rows(arrays[text]),
        captions=arrays.get(f"{prefix}captions", row_names),
        pictures=pictures,
        labels=labels,
        groups=arrays.get(f"{prefix}groups", row_names),
    )


def text_arrays(fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Fields of a record that are not per image under the names that a file has for them; empty ones are left out."""
    return {
        SHARED[name]: np.asarray(value)
        for name, value in fields.items()
        if name in SHARED and value is not None and len(value)
    }


def image_arrays(features: Features, part: str) -> dict[str, np.ndarray]:
    """Fields per image of a part under the names that a file has for them; those that are not there are left out."""
    fields = {name: getattr(features, name) for name in PER_IMAGE}
    return {PER_IMAGE[name].format(part): value for name, value in fields.items() if value is not None}
