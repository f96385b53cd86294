"""Fitted adapters and refined encoders on disk: arrays as safetensors, everything else as a card beside them."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evenly.storage.errors import DamagedError, InputError, NotFoundError
from evenly.storage.records import read_record, replace_record, replacing
from evenly.storage.tables.arrow_files import first_line

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NEEDED = {"adapter": str, "arrays": dict, "learned": dict, "parameters": dict}
"""What a card must hold to be read, of which kind; see `evenly.adapters.saved.to_card`."""

_OF_REFINED = {"base": str, "build": str, "encoder": dict, "rule": dict, "notes": dict}


def write_adapter(folder: Path, name: str, card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Path:
    """Write `<name>.safetensors`, then `<name>.json`, each in one step and durable; the card's path.

    The card holds the hash of the arrays, so that those of two fits, one of them cut short, are never taken for one.
    """
    from safetensors.numpy import save

    content = save(dict(arrays))
    with replacing(folder / f"{name}.safetensors") as stream:
        stream.write(content)
    replace_record(folder / f"{name}.json", {**card, "arrays_sha256": hashlib.sha256(content).hexdigest()})
    return folder / f"{name}.json"


def read_adapter(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The card and the arrays of a saved adapter.

    Raises NotFoundError where there is none, DamagedError where the two are broken or not of one fit.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / f"{name}.safetensors"
    if not path.is_file():
        names = ", ".join(sorted(item.stem for item in folder.glob("*.safetensors"))) or "none"
        raise NotFoundError(f"adapter `{name}` must be in `{folder}`; it is not. There: {names}. Run `evenly fit`.")
    card = read_record(folder / f"{name}.json")
    wrong = [key for key, kind in NEEDED.items() if not isinstance(card.get(key), kind)]
    if wrong:
        raise DamagedError(
            f"`{folder / name}.json` must be the card of an adapter; got no `{wrong[0]}` of its kind. Fit it again."
        )
    content = path.read_bytes()
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise DamagedError(f"`{path}` must be safetensors; got `{first_line(error)}`. Fit it again.") from None
    shapes = {key: {"shape": list(array.shape), "dtype": str(array.dtype)} for key, array in arrays.items()}
    if shapes != card["arrays"] or card.get("arrays_sha256") not in (None, hashlib.sha256(content).hexdigest()):
        raise DamagedError(f"`{path}` must hold the arrays of the card beside it; it does not. Fit it again.")
    return card, arrays


def write_refined(folder: Path, name: str, card: Mapping[str, Any], content: bytes) -> Path:
    """Write the heads of a refined encoder, `<name>.safetensors`, then its card, each in one step; the card's path.

    Raises InputError for a name that is no name of a file.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"the name of a refined encoder must be letters, digits, `.`, `_` and `-`, 64 at most; got `{name}`."
        )
    with replacing(folder / f"{name}.safetensors") as stream:
        stream.write(content)
    replace_record(folder / f"{name}.json", {**card, "heads_sha256": hashlib.sha256(content).hexdigest()})
    return folder / f"{name}.json"


def list_refined(folder: Path) -> list[dict[str, Any]]:
    """The cards of the refined encoders that lie there, by name, each with its name.

    Raises DamagedError for a card that is none of a refined encoder.
    """
    cards = []
    for path in sorted(folder.glob("*.json")):
        card = read_record(path)
        if wrong := [key for key, kind in _OF_REFINED.items() if not isinstance(card.get(key), kind)]:
            raise DamagedError(
                f"`{path}` must be the card of a refined encoder; got no `{wrong[0]}` of its kind. Refine again."
            )
        cards.append({"name": path.stem, **card})
    return cards


def read_refined(folder: Path, name: str) -> tuple[dict[str, Any], bytes]:
    """The card and the heads of a refined encoder.

    Raises NotFoundError where there is none, DamagedError where the two are not of one run.
    """
    path = folder / f"{name}.safetensors"
    if not _NAME.fullmatch(name) or not path.is_file():
        names = ", ".join(sorted(item.stem for item in folder.glob("*.safetensors"))) or "none"
        raise NotFoundError(
            f"`refine` must be a refined encoder of `{folder}`; got `{name}`. There: {names}. `evenly refine` makes it."
        )
    card, content = read_record(folder / f"{name}.json"), path.read_bytes()
    if card.get("heads_sha256") != hashlib.sha256(content).hexdigest():
        raise DamagedError(f"`{path}` must hold the heads of the card beside it; it does not. Refine again.")
    return card, content
