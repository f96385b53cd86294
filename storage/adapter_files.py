"""Fitted adapters on disk: arrays as safetensors, everything else as a card beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from storage.errors import NotFoundError
from storage.records import read_record, replace_record


def write_adapter(folder: Path, name: str, card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write `<name>.safetensors`, then `<name>.json`, whole each; the card's path. A card means that both are there."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.safetensors"
    temporary = target.with_suffix(".tmp")
    save_file(dict(arrays), temporary)
    temporary.replace(target)
    replace_record(folder / f"{name}.json", card)
    return folder / f"{name}.json"


def read_adapter(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The card and the arrays of a saved adapter. Raises NotFoundError where there is none."""
    from safetensors.numpy import load_file

    path = folder / f"{name}.safetensors"
    if not path.exists():
        known = ", ".join(sorted(item.stem for item in folder.glob("*.safetensors"))) or "none"
        raise NotFoundError(f"adapter `{name}` must be in `{folder}`; it is not. There: {known}. Run `evenly fit`.")
    return read_record(folder / f"{name}.json"), load_file(path)
