"""Refinements of an encoder: as they are kept, which makes rows, and as they are trained, by any objective."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from evenly.features.refining.objective import Sides
from evenly.features.refining.pairs import Names
from evenly.features.unit_rows import Single

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from torch import Tensor

Arrays = Mapping[str, npt.NDArray[np.float32]]
Places = npt.NDArray[np.int64]
STRENGTHS = (0.25, 0.5, 0.75, 1.0)
"""Shares of what was trained that are tried."""


class Refinement(Protocol):
    """An addition to a frozen encoder, at a strength: at 0 it changes nothing, at 1 it is all that was trained.

    Rows (n, d) come as the frozen encoder gives them, with what they are of: uids of pairs, or texts. Heads look at the
    rows alone, towers at the pictures and texts.
    """

    @property
    def strength(self) -> float:
        """The share of what was trained that is added."""
        ...

    def at(self, strength: float) -> "Refinement":
        """The same at another strength."""
        ...

    def image(self, rows: Single, uids: Names, /) -> Single:
        """Rows of pictures, refined."""
        ...

    def text(self, rows: Single, texts: Names, /) -> Single:
        """Rows of texts, refined."""
        ...

    def to_bytes(self) -> bytes:
        """A safetensors file, which `refined_encoder` reads."""
        ...


class Trainable(ABC):
    """A refinement in training: its parameters, and the rows that they make of a batch, which pass gradients on.

    threads: how many prepare what batches need beside the frozen rows. strengths: the shares of it that can be added.
    sides: those whose rows it changes.
    """

    threads: int = 1
    strengths: tuple[float, ...] = STRENGTHS
    sides: tuple[str, ...] = ("image", "text")

    @abstractmethod
    def start(self) -> "dict[str, Tensor]":
        """The parameters at the start, by name: rows are those of the frozen encoder."""

    def inputs(self, batches: Sequence[Places], pool: "ThreadPoolExecutor") -> Iterator[Any]:
        """The inputs of `rows` for each batch of pairs, by their places; none, unless it says otherwise."""
        del pool
        return iter([None] * len(batches))

    @abstractmethod
    def rows(self, parameters: "Mapping[str, Tensor]", original: Sides, inputs: Any) -> Sides:  # noqa: ANN401
        """Refined rows of a batch, of the frozen ones and what `inputs` gave of it; on the processor."""

    @abstractmethod
    def texts(self, parameters: "Mapping[str, Tensor]", rows: "Tensor", names: Names) -> "Tensor":
        """Refined rows of texts (m,) alone, of the frozen rows (m, d)."""

    def penalty(self, parameters: "Mapping[str, Tensor]", original: Sides) -> "Tensor | float":
        """The addition to the objective's loss."""
        del parameters, original
        return 0.0

    @abstractmethod
    def refinement(self, arrays: Arrays) -> Refinement:
        """The refinement of trained parameters; names that are not its own are passed over."""

    def frozen(self) -> Refinement:
        """The refinement that changes nothing: the start, at strength 0."""
        return self.refinement({name: values.cpu().numpy() for name, values in self.start().items()}).at(0.0)
