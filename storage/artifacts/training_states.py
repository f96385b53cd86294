"""States of trainings in the making: a run that was broken off goes on from them, to the same bits."""

import hashlib
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenly.storage.errors import StorageError
from evenly.storage.records import replacing

Arrays = Mapping[str, npt.NDArray[np.float32]]
_DIGEST = 32  # bytes of a SHA-256
_SUFFIX = ".safetensors"


def store_state(path: Path, state: Arrays) -> None:
    """Write arrays with their hash, complete or not at all."""
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(values) for name, values in state.items()})
    with replacing(path) as stream:
        stream.write(content + hashlib.sha256(content).digest())


def stored_state(path: Path) -> Arrays | None:
    """What `store_state` wrote; None where nothing is stored, or what is has changed: it is trained again."""
    from safetensors.numpy import load

    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    content, digest = stored[:-_DIGEST], stored[-_DIGEST:]
    return load(content) if hashlib.sha256(content).digest() == digest else None


def remove_states(folder: Path) -> None:
    """Remove the states of a folder; another process may have been as far."""
    for path in folder.glob(f"*{_SUFFIX}"):
        path.unlink(missing_ok=True)
    with suppress(OSError, StorageError):  # a store has no folders
        folder.rmdir()


@dataclass(frozen=True)
class TrainingStates(MutableMapping[str, Arrays]):
    """The states in a folder by their keys; each is replaced whole. A damaged one is none.

    `remove_touched` removes those that were read or written through this object.
    """

    folder: Path
    touched: set[str] = field(default_factory=set, compare=False)

    def __getitem__(self, key: str) -> Arrays:
        self.touched.add(key)
        state = stored_state(self._path(key))
        if state is None:
            raise KeyError(key)
        return state

    def __setitem__(self, key: str, state: Arrays) -> None:
        self.touched.add(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        store_state(self._path(key), state)

    def remove_touched(self) -> None:
        """Remove states of this object's trainings; another process with the same one writes its next state anew."""
        while self.touched:
            self._path(self.touched.pop()).unlink(missing_ok=True)

    def __delitem__(self, key: str) -> None:
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        return (path.name.removesuffix(_SUFFIX) for path in sorted(self.folder.glob(f"*{_SUFFIX}")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"
