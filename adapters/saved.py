"""A fitted adapter as a card of plain values and a dict of arrays, and back. Files are storage's business."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from evenly.adapters import ADAPTERS, adapter_class
from evenly.adapters.contract import Adapter
from evenly.adapters.errors import InvalidFeaturesError, NotFittedError, UnknownAdapterError
from evenly.adapters.features import Floats


def to_card(adapter: Adapter) -> dict[str, Any]:
    """The card of a fit, in JSON: `adapter` (its name), `parameters`, `learned` (texts), `arrays` (shape and dtype)."""
    return {
        "adapter": _name_of(adapter),
        "parameters": adapter.get_params(),
        "learned": {name: value for name, value in _learned(adapter).items() if isinstance(value, str)},
        "arrays": {
            name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in to_arrays(adapter).items()
        },
    }


def to_arrays(adapter: Adapter) -> dict[str, Floats]:
    """The learned arrays by name, C-contiguous, as a safetensors file takes them."""
    return {
        name: np.ascontiguousarray(value) for name, value in _learned(adapter).items() if isinstance(value, np.ndarray)
    }


def from_arrays(
    name: str,
    arrays: Mapping[str, Floats],
    parameters: Mapping[str, Any],
    *,
    learned: Mapping[str, str] | None = None,
) -> Adapter:
    """The fitted adapter `name` again: its logits equal those of the one that was saved.

    `learned` are the texts of the card; left out they are empty, and then rows of any encoder are accepted.
    """
    kind = adapter_class(name)
    adapter = kind().set_params(**parameters)
    texts = learned or {}
    values: dict[str, Any] = {**arrays, **texts}
    needed = _array_names(kind)
    missing, extra = sorted(needed - arrays.keys()), sorted(values.keys() - set(kind.learned_names()))
    if missing or extra:
        raise InvalidFeaturesError(
            f"`arrays` of adapter `{name}` must be {', '.join(sorted(needed))}; "
            f"got {', '.join(sorted(arrays)) or 'none'}. Load the arrays and the card of one saved adapter, or fit it "
            "again where an older version saved it."
        )
    for learned_name in kind.learned_names():
        value = values.get(learned_name, "")
        setattr(adapter, learned_name, value if isinstance(value, str) else np.asarray(value))
    return adapter


def _learned(adapter: Adapter) -> dict[str, Any]:
    if not hasattr(adapter, "prototypes_"):
        name = type(adapter).__name__
        raise NotFittedError(f"`{name}` must be fitted before it is saved; it is not. Call `fit` first.")
    return {name: getattr(adapter, name) for name in adapter.learned_names()}


def _array_names(kind: type[Adapter]) -> set[str]:
    return {item.name for item in fields(kind) if not item.init and item.type is not str}


def _name_of(adapter: Adapter) -> str:
    for name, kind in ADAPTERS.items():
        if type(adapter) is kind:
            return name
    raise UnknownAdapterError(
        f"`adapter` must be of a class in ADAPTERS; got `{type(adapter).__name__}`. Add it to adapters/__init__.py."
    )
