"""States of trainings in the making: a run that was broken off goes on from them, to the same bits."""

import hashlib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenly.storage.records import replacing

Arrays = Mapping[str, npt.NDArray[np.float32]]
_DIGEST = 32  # bytes of a SHA-256
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class TrainingStates(MutableMapping[str, Arrays]):
    """The states in a folder by their keys, each replaced whole with its hash. A damaged one is none.

    `remove_touched` removes those that were read or written through this object.
    """

    folder: Path
    touched: set[str] = field(default_factory=set, compare=False)

    def __getitem__(self, key: str) -> Arrays:
        from safetensors.numpy import load

        self.touched.add(key)
        try:
            stored = self._path(key).read_bytes()
        except FileNotFoundError:
            raise KeyError(key) from None
        content, digest = stored[:-_DIGEST], stored[-_DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            raise KeyError(key)
        return load(content)

    def __setitem__(self, key: str, state: Arrays) -> None:
        from safetensors.numpy import save

        self.touched.add(key)
        content = save({name: np.ascontiguousarray(values) for name, values in state.items()})
        with replacing(self._path(key)) as stream:
            stream.write(content + hashlib.sha256(content).digest())

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
