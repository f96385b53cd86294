"""The frozen record of features that every adapter gets, and the checks on it and on its labels."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.prompts.tower import PromptTower

Strings = npt.NDArray[np.str_]

Booleans = npt.NDArray[np.bool_]

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]
Indices = npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_] | slice

UNIT_TOLERANCE = 1e-3
"""Largest distance of a row's norm from 1. Rounding a unit row to fp16, as stored, moves it by up to 2^-11 = 4.9e-4."""

_SHAPES = {
    "image": "n d",
    "norms": "n",
    "views": "v n d",
    "second": "n e",
    "captions": "n d",
    "prototypes": "c d",
    "unlabelled": "m d",
    "unlabelled_second": "m e",
    "class_texts": "t d",
    "class_text_labels": "t",
    "descriptor_texts": "s d",
    "descriptor_text_labels": "s",
    "pair_texts": "p d",
    "pair_text_classes": "p 2",
    "context_prototypes": "z c d",
    "negation_prototypes": "c d",
    "rejection_prototypes": "r d",
}
_PER_ROW = ("image", "norms", "second", "captions")
_OF_POOL = ("unlabelled", "unlabelled_second")
_CLASS_INDICES = ("class_text_labels", "descriptor_text_labels", "pair_text_classes")


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of n images, and what else a method may need. All float32, rows of unit length, arrays read-only.

    `image` (n, d) image features; `norms` (n,) their lengths before normalising, above 0; `views` (v, n, d) features of
    v augmented views of the same images; `second` (n, e) features of the same images by a second backbone; `captions`
    (n, d) features of their captions; `prototypes` (c, d) one text feature per class, which fixes the number and the
    order of the classes; `unlabelled` (m, d) a pool of further images and `unlabelled_second` (m, e) the same by the
    second backbone. `encoder` is the identity of the encoder that made them, "" where unknown; records of two encoders
    do not mix.

    Further texts, each where a method asks for it: `class_texts` (t, d) with `class_text_labels` (t,), the class that
    each describes; `descriptor_texts` (s, d) with `descriptor_text_labels` (s,), the same of texts that name no
    class; `pair_texts` (p, d) with `pair_text_classes` (p, 2), row (a, b) describes class a as against b;
    `context_prototypes` (z, c, d), class c in context z; `negation_prototypes` (c, d), texts that say "not c";
    `rejection_prototypes` (r, d), texts of what is none of the classes, and `rejection_names` these texts themselves
    where they are known. Class indices are int64, positions in 0 to c-1.
    `tower` is the text tower, bound to the class names: no array, for methods that learn the words of a prompt.
    """

    image: Floats
    prototypes: Floats | None = None
    norms: Floats | None = None
    views: Floats | None = None
    second: Floats | None = None
    captions: Floats | None = None
    unlabelled: Floats | None = None
    unlabelled_second: Floats | None = None
    class_texts: Floats | None = None
    class_text_labels: Integers | None = None
    descriptor_texts: Floats | None = None
    descriptor_text_labels: Integers | None = None
    pair_texts: Floats | None = None
    pair_text_classes: Integers | None = None
    context_prototypes: Floats | None = None
    negation_prototypes: Floats | None = None
    rejection_prototypes: Floats | None = None
    rejection_names: tuple[str, ...] = ()
    tower: PromptTower | None = None
    encoder: str = ""

    def __post_init__(self) -> None:
        sizes: dict[str, tuple[int, str]] = {}
        for name, shape in _SHAPES.items():
            array = getattr(self, name)
            if array is None and name != "image":
                continue
            _check_array(name, array, shape, sizes)
            object.__setattr__(self, name, _read_only(array))
        for name in _CLASS_INDICES:
            self._check_class_indices(name)
        if self.tower is not None and self.prototypes is not None and len(self.tower.names) != len(self.prototypes):
            raise InvalidFeaturesError(
                f"`tower` must have a name per class, {len(self.prototypes)}; got {len(self.tower.names)}. Bind it to "
                "the class list of the prototypes."
            )

    def __len__(self) -> int:
        return int(self.image.shape[0])

    def _check_class_indices(self, name: str) -> None:
        """Refuse positions outside the class list, where both are there."""
        indices = getattr(self, name)
        if indices is None or self.prototypes is None or not indices.size:
            return
        if indices.min() < 0 or indices.max() >= len(self.prototypes):
            bad = indices[(indices < 0) | (indices >= len(self.prototypes))][0]
            raise InvalidFeaturesError(
                f"`{name}` must lie in 0 to {len(self.prototypes) - 1}; got {bad}. "
                "Check that the texts were made for this class list."
            )

    @property
    def dimension(self) -> int:
        """Length d of an image feature."""
        return int(self.image.shape[1])

    def rows(self, index: Indices) -> Self:
        """The record of some of its images, in the order of `index`; prototypes and unlabelled pool stay whole."""
        picked = {name: getattr(self, name)[index] for name in _PER_ROW if getattr(self, name) is not None}
        if self.views is not None:
            picked["views"] = self.views[:, index]
        return self._with_checked(picked)

    def pool_rows(self, index: Indices) -> Self:
        """The record with some rows of its unlabelled pool, in the order of `index`."""
        pools = {name: getattr(self, name) for name in _OF_POOL}
        return self._with_checked({name: rows[index] for name, rows in pools.items() if rows is not None})

    def _with_checked(self, fields: Mapping[str, Any]) -> Self:
        """The record with rows of its own arrays, which need no second check."""
        record = copy.copy(self)
        for name, array in fields.items():
            object.__setattr__(record, name, _read_only(array))
        return record

    def with_prototypes(self, prototypes: Floats) -> Self:
        """The same images with other class prototypes (c, d): names, descriptions, synonyms or any other texts."""
        return replace(self, prototypes=prototypes)

    def require(self, *names: str, adapter: str) -> None:
        """Raise MissingFeaturesError naming those of `names` that an adapter needs and the record does not hold."""
        missing = [name for name in names if getattr(self, name) is None]
        if missing:
            raise MissingFeaturesError(
                f"`features` for adapter `{adapter}` must hold {', '.join(f'`{name}`' for name in names)}; "
                f"got none for {', '.join(f'`{name}`' for name in missing)}. Hand them in, or choose another adapter."
            )

    def required_prototypes(self, *, adapter: str) -> Floats:
        """The prototypes (c, d); MissingFeaturesError where there are none."""
        self.require("prototypes", adapter=adapter)
        if self.prototypes is None:  # unreachable: tells the type checker what `require` found
            raise MissingFeaturesError("`prototypes` must be given.")
        return self.prototypes


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledFeatures:
    """Features of n images and `labels` (n,), the position of each in the classes."""

    features: Features
    labels: Integers

    def with_features(self, features: Features) -> Self:
        """The same images with another record."""
        return replace(self, features=features)

    def rows(self, index: Indices) -> Self:
        """Some of the images with their labels."""
        return replace(self, features=self.features.rows(index), labels=self.labels[index])


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupedFeatures(LabelledFeatures):
    """Labelled images with `groups` (n,), the names of what belongs together: intervals resample whole groups."""

    groups: npt.NDArray[Any]

    def rows(self, index: Indices) -> Self:
        """Some of the images with their labels and groups."""
        return replace(super().rows(index), groups=self.groups[index])


def unit_rows(array: Floats, *, name: str = "array") -> Floats:
    """The rows of `array` (n, d) scaled to unit length, float32. A row of zeros or with NaN is an error."""
    wide = np.asarray(array, dtype=np.float64)
    if wide.ndim != 2:
        raise InvalidFeaturesError(f"`{name}` must have 2 axes (n, d); got shape {wide.shape}. Reshape it.")
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
    if bad.size:
        raise InvalidFeaturesError(
            f"`{name}` must have finite rows longer than 0; got length {lengths[bad[0], 0]} at row {bad[0]} "
            f"({bad.size} such rows). Leave these rows out."
        )
    return np.asarray(wide / lengths, dtype=np.float32)


def checked_labels(labels: Integers, *, n: int, n_classes: int) -> Integers:
    """The labels as int64 (n,), each in 0 to c - 1, or InvalidFeaturesError."""
    array = np.asarray(labels)
    if array.shape != (n,):
        raise InvalidFeaturesError(
            f"`labels` must hold one class index per image, shape ({n},); got shape {array.shape}. "
            "Hand in labels and features of the same rows."
        )
    if n and not np.issubdtype(array.dtype, np.integer):
        raise InvalidFeaturesError(
            f"`labels` must be integers; got {array.dtype}. Give each class its position in the class list."
        )
    bad = np.flatnonzero((array < 0) | (array >= n_classes)) if n else np.empty(0, np.int64)
    if bad.size:
        raise InvalidFeaturesError(
            f"`labels` must lie in 0 to {n_classes - 1}; got {array[bad[0]]} at row {bad[0]} ({bad.size} such rows). "
            "Leave unlabelled images out and check that the class list is the one the labels were made for."
        )
    return array.astype(np.int64)


def _check_array(name: str, array: Floats, shape: str, sizes: dict[str, tuple[int, str]]) -> None:
    kind = np.int64 if name in _CLASS_INDICES else np.float32
    if not isinstance(array, np.ndarray) or array.dtype != kind:
        actual = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InvalidFeaturesError(
            f"`{name}` must be a {kind.__name__} array; got {actual}. Convert it with `.astype(np.{kind.__name__})`."
        )
    axes = shape.split()
    if array.ndim != len(axes):
        raise InvalidFeaturesError(
            f"`{name}` must have shape ({', '.join(axes)}); got {array.shape}. Hand in one row per image or class."
        )
    for axis, size in zip(axes, array.shape, strict=True):
        if axis.isdigit():
            if size != int(axis):
                raise InvalidFeaturesError(f"`{name}` must have {axis} columns; got {size}. Hand in that many.")
            continue
        expected, owner = sizes.setdefault(axis, (size, name))
        if expected != size:
            raise InvalidFeaturesError(
                f"`{name}` must have the same {_AXIS_NAMES[axis]} as `{owner}` ({expected}); got {size}. "
                "Hand in features of the same rows by the same encoder."
            )
    if name == "prototypes" and not len(array):
        raise InvalidFeaturesError("`prototypes` must hold at least one class; got none. Hand in one row per class.")
    if name not in _CLASS_INDICES:
        _check_values(name, array)


_AXIS_NAMES = {
    "n": "number of rows",
    "d": "dimension",
    "c": "number of classes",
    "m": "number of unlabelled rows",
    "e": "dimension of the second backbone",
    "t": "number of texts",
    "s": "number of texts",
    "p": "number of texts",
}


def _check_values(name: str, array: Floats) -> None:
    lengths = array.astype(np.float64) if array.ndim == 1 else np.linalg.norm(array.astype(np.float64), axis=-1)
    broken = np.argwhere(~np.isfinite(lengths))
    if broken.size:
        raise InvalidFeaturesError(
            f"`{name}` must be finite; got NaN or infinity at row {_place(broken)} ({len(broken)} such rows). "
            "Extract these rows again or leave them out."
        )
    if array.ndim == 1:
        wrong = np.argwhere(lengths <= 0)
        rule, remedy = "be above 0", "Leave images without a feature out."
    else:
        wrong = np.argwhere(np.abs(lengths - 1) > UNIT_TOLERANCE)
        rule, remedy = "have rows of unit length", "Normalise them with `unit_rows`."
    if wrong.size:
        value = lengths[tuple(wrong[0])]
        raise InvalidFeaturesError(
            f"`{name}` must {rule}; got {value:.6g} at row {_place(wrong)} ({len(wrong)} such rows). {remedy}"
        )


def _read_only(array: Floats) -> Floats:
    view = array.view()
    view.flags.writeable = False
    return view


def _place(indices: npt.NDArray[np.intp]) -> str:
    return ", ".join(str(index) for index in indices[0])
