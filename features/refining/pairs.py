"""The pairs that an encoder is refined on: rows of both sides as the frozen encoder gives them, and what joins them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError
from evenly.features.unit_rows import Half, Single, checked_rows

Names = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairRows:
    """Pairs (n) of a picture and a text: rows (n, d) not normalised, uids, and names of what belongs together.

    uids: what batches are drawn by. captions: equal texts are one. groups: pictures that never part, such as
    duplicates. labels: "" where there is none.
    """

    image: Single
    text: Single
    uids: Names
    captions: Names
    groups: Names
    labels: Names

    def __post_init__(self) -> None:
        checked_rows("image", self.image)
        checked_rows("text", self.text)
        names = ("uids", "captions", "groups", "labels")
        for name in ("text", *names):
            if len(getattr(self, name)) != len(self.image):
                raise RowsError(
                    f"`{name}` must hold one for each pair, {len(self.image)}; got {len(getattr(self, name))}. Hand in "
                    "rows of the same pairs."
                )

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, places: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> "PairRows":
        """Some of the pairs."""
        return PairRows(**{name: values[places] for name, values in vars(self).items()})


def raw_rows(vectors: Half, norms: Single) -> Single:
    """Stored rows (n, d) at their lengths (n,): what a refined encoder starts from."""
    rows: Single = vectors.astype(np.float32) * np.asarray(norms, np.float32)[:, None]
    return rows
