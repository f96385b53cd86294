"""A text tower as prompt learners see it: vectors in the place of words become class rows, and gradients come back."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Place = Literal["end", "middle", "front"]
"""Where a class name stands: after the context vectors, between their halves, or before them."""
Vectors = npt.NDArray[np.float32]
States = MutableMapping[str, Mapping[str, Vectors]]
"""Arrays by name, of each training under its key: as far as it has come."""


class PromptTower(Protocol):
    """A frozen text tower bound to class names: no module, no device and no file of it is seen.

    A call of `rows` costs a forward pass over all names, and a backward pass where gradients are asked for: about three
    times as long as to encode the names as texts.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in the order of the prototypes."""
        ...

    @property
    def states(self) -> States:
        """Trainings so far: one that was broken off goes on from what stands here."""
        ...

    def training(self, steps: int, *, per_epoch: int) -> AbstractContextManager[Callable[[int], None]]:
        """A training of so many steps, `per_epoch` of which see each row once; call with the number just done."""
        ...

    @property
    def identity(self) -> str:
        """The identity of the encoder; contexts of different identities are never mixed."""
        ...

    def rows(self, context: "Tensor", *, place: Place = "end", names: Sequence[str] | None = None) -> "Tensor":
        """Rows (c, d), float32, not normalised, of "context, name" for each of `names`, by default of the classes.

        `context` holds m vectors of the tower's word embeddings: (m, w) for all names, or (c, m, w) for each its own.
        Gradients reach it and nothing else. An error names a name beside which m vectors do not fit the tower.
        """
        ...

    def vectors(self, text: str) -> Vectors:
        """Word embeddings (m, w) of the tokens of a text, without the marks at its ends."""
        ...

    def nearest_words(self, vectors: Vectors) -> list[tuple[str, float]]:
        """Of each of vectors (m, w) the token with the nearest embedding, and its Euclidean distance."""
        ...

    def of_classes(self, classes: npt.NDArray[np.integer[Any]]) -> Self:
        """The tower bound to some of its names, in that order."""
        ...
