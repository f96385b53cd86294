"""Results of a previous search for duplicates that still hold after rows came, went or changed.

The edges of a search are the minimum spanning forest of its duplicates, and a forest of A and B together is that of B
and the forest of A alone. So the edges among rows of which nothing changed, with all duplicates that have another end,
give the forest of all duplicates: nothing between unchanged rows is looked at again, and what comes out equals a search
from scratch.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Ints
from evenly.curation.duplicates.merging import components

Pairs = tuple[Ints, Ints]


@dataclass(frozen=True, kw_only=True)
class StillTrue:
    """Of n rows, those that are `fresh` and must be searched; the earlier edges (i, j) among the others.

    compared: others that were compared with all, and `duplicates` (i, j) that they turned out to have among the others.
    """

    fresh: Flags
    edges: Pairs
    compared: Ints
    duplicates: Pairs


@dataclass(frozen=True, kw_only=True)
class PreviousSearch:
    """An earlier search by the same rule and seed: its `edges`, and its table `compared` where it drew rows for recall.

    unchanged: uids of pairs that it has seen exactly as they are now.
    """

    unchanged: pa.Array
    edges: pa.Table
    compared: pa.Table | None = None

    def among(self, uids: pa.Array, equal: Pairs) -> StillTrue:
        """What still holds among the sorted `uids`, of which those (i, j) are `equal`.

        A component that lost a row, or of which a row changed or became equal to a new one, is fresh as a whole.
        """
        fresh = ~_flags(pc.is_in(uids, self.unchanged))
        left, right, stands = _pairs(self.edges["uid_a"], self.edges["uid_b"], uids, fresh)
        for side in (left, right):
            fresh[side[~stands & (side >= 0)]] = True
        left, right = left[stands], right[stands]
        component = components(
            len(uids), np.concatenate([left, equal[0]]), np.concatenate([right, equal[1]]).astype(np.int64)
        )
        touched = np.zeros(len(uids), dtype=np.bool_)
        touched[component[fresh]] = True
        fresh = touched[component]
        stands = ~fresh[left]
        compared, duplicates = self._compared(uids, fresh)
        return StillTrue(fresh=fresh, edges=(left[stands], right[stands]), compared=compared, duplicates=duplicates)

    def _compared(self, uids: pa.Array, fresh: Flags) -> tuple[Ints, Pairs]:
        if self.compared is None:
            return np.empty(0, np.int64), (np.empty(0, np.int64), np.empty(0, np.int64))
        rows, duplicates, stands = _pairs(self.compared["uid"], self.compared["twin"], uids, fresh)
        left, right = np.minimum(rows, duplicates)[stands], np.maximum(rows, duplicates)[stands]
        rows = np.unique(rows[rows >= 0])
        return rows[~fresh[rows]], (left, right)


def _pairs(first: pa.ChunkedArray, second: pa.ChunkedArray, uids: pa.Array, fresh: Flags) -> tuple[Ints, Ints, Flags]:
    """The places of two columns of uids, -1 where a uid is not there, and where both are there and not fresh."""
    left, right = (uid_places(side, uids) for side in (first, second))
    stands = (left >= 0) & (right >= 0)
    stands[stands] = ~fresh[left[stands]] & ~fresh[right[stands]]
    return left, right, stands


def uid_places(column: pa.ChunkedArray, uids: pa.Array) -> Ints:
    """The places (n,) of a column of uids among `uids`; -1 for those that are not there."""
    places = pc.fill_null(pc.index_in(column.combine_chunks(), uids), -1)
    return np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.int64)


def _flags(values: pa.Array) -> Flags:
    return np.array(values.to_numpy(zero_copy_only=False), dtype=np.bool_)
