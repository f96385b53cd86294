"""The pairs that an encoder is refined on: rows of both sides as the frozen encoder gives them, and their groups."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.features.errors import RowsError
from evenly.features.unit_rows import Half, Single, checked_rows, to_unit_rows

Names = npt.NDArray[np.str_]
Places = npt.NDArray[np.integer] | npt.NDArray[np.bool_]
MOST = 16
"""Rows of a kind that a pair has at most; the first in their order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedRows:
    """Distinct rows (m, ...), not normalised, and the places (n, k) in them of those each pair has; -1 for none.

    texts: what they are of (m,), where that is kept.
    """

    rows: Single
    places: npt.NDArray[np.int64]
    texts: Names | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: Places) -> "SharedRows":
        """The rows of the pairs at `places`."""
        return replace(self, places=self.places[places])

    def padded(self) -> tuple[Single, npt.NDArray[np.bool_]]:
        """The rows (n, k, ...) of each pair, and whether they are there (n, k); 0 where not."""
        is_there = self.places >= 0
        rows = self.rows[np.maximum(self.places, 0)]
        rows[~is_there] = 0
        return rows, is_there


@dataclass(frozen=True, kw_only=True, eq=False)
class PairRows:
    """Pairs (n) of a picture and a text: rows (n, d) not normalised, uids, and names of groups.

    uids: what batches are drawn by. captions: equal texts are one. groups: pictures that never part, such as
    duplicates. labels: "" where there is none.

    What some objectives need, None where it was not asked for. views: parts of the picture. words: of the caption.
    second: parts of the picture by the second backbone (e columns). texts: others that the pair was offered.
    duplicates: records merged into the pair (m, 2, d), picture and text of each. synonyms: phrases with other names of
    the label. named: the text by which a class list names the label. long_texts: the longest text of the pair (n,).
    """

    image: Single
    text: Single
    uids: Names
    captions: Names
    groups: Names
    labels: Names
    views: SharedRows | None = None
    words: SharedRows | None = None
    second: SharedRows | None = None
    texts: SharedRows | None = None
    duplicates: SharedRows | None = None
    synonyms: SharedRows | None = None
    named: SharedRows | None = None
    long_texts: npt.NDArray[np.object_] | None = None

    def __post_init__(self) -> None:
        checked_rows("image", self.image)
        checked_rows("text", self.text)
        for name, values in vars(self).items():
            if values is not None and len(values) != len(self.image):
                raise RowsError(
                    f"`{name}` must hold one for each pair, {len(self.image)}; got {len(values)}. Hand in rows of the "
                    "same pairs."
                )

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, places: Places) -> "PairRows":
        """Some of the pairs."""
        of_pairs: dict[str, Any] = {
            name: None if values is None else values[places] for name, values in vars(self).items()
        }
        return PairRows(**of_pairs)


def raw_rows(vectors: Half, norms: Single) -> Single:
    """Stored rows (n, d) at their lengths (n,), which a refined encoder starts from."""
    rows: Single = vectors.astype(np.float32) * np.asarray(norms, np.float32)[:, None]
    return rows


def stored_rows(rows: Single) -> Single:
    """Rows as they are read from the store: half-precision directions at their lengths."""
    return raw_rows(*to_unit_rows(rows)) if len(rows) else np.asarray(rows, np.float32)
