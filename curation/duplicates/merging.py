"""Verdicts from duplicates: components, the survivor of each, and the pair that every other one is merged into.

Of all measured duplicates only a minimum spanning forest is held, so that memory grows with the rows and not with the
pairs: 10,000 near-copies of one picture leave 9,999 edges, not 50 million. With ties broken by the rows' numbers the
forest is unique: it depends neither on the order in which duplicates were found nor on other components.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Floats, Ints, Words, column
from evenly.curation.decisions import Decisions

Pairs = tuple[Ints, Ints]
"""The places (m,) of pairs of rows."""
_HELD = 1 << 20  # edges held before they are thinned


@dataclass
class Forest:
    """A minimum spanning forest over `n` rows, to which edges are added; a small `weight` is a strong link."""

    n: int
    left: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    right: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    weight: Floats = field(default_factory=lambda: np.empty(0))
    _component: Ints | None = None
    _worst: Ints | None = None  # the weakest edge of each component

    def add(self, left: Ints, right: Ints, weight: Floats) -> None:
        """Add edges (i, j), i < j; one that cannot be in the forest is not held."""
        if self._component is not None and self._worst is not None:
            # The weakest edge of a cycle is in no minimum spanning forest.
            component = self._component[left]
            worst = self._worst[component]
            new = (component != self._component[right]) | (weight < self.weight[worst])
            equal = weight == self.weight[worst]
            new |= equal & ((left < self.left[worst]) | ((left == self.left[worst]) & (right < self.right[worst])))
            left, right, weight = left[new], right[new], weight[new]
        self.left = np.concatenate([self.left, left])
        self.right = np.concatenate([self.right, right])
        self.weight = np.concatenate([self.weight, weight])
        if len(self.left) > _HELD + self.n:
            self._thin()

    def joined(self) -> tuple[Ints, Floats] | None:
        """The component (n,) of each row as far as is known, and the weight of the weakest edge of each; None at first.

        A pair in one component that is weaker than that edge is not in the forest, whatever is added.
        """
        if self._component is None or self._worst is None or not len(self.weight):
            return None
        return self._component, self.weight[self._worst]

    def edges(self) -> tuple[Ints, Ints]:
        """The edges (i, j) of the forest, sorted."""
        left, right, _ = self.strongest()
        return left, right

    def strongest(self) -> tuple[Ints, Ints, Floats]:
        """The edges (i, j) of the forest, sorted, and their weights."""
        self._thin()
        order = np.lexsort((self.right, self.left))
        return self.left[order], self.right[order], self.weight[order]

    def _thin(self) -> None:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import minimum_spanning_tree

        order = np.lexsort((self.right, self.left, self.weight))
        left, right = self.left[order], self.right[order]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = (np.diff(left) != 0) | (np.diff(right) != 0)
        order, left, right = order[new], left[new], right[new]
        rank = np.arange(1, len(order) + 1, dtype=np.float64)
        tree = minimum_spanning_tree(coo_array((rank, (left, right)), shape=(self.n, self.n)).tocsr())
        order = order[tree.data.astype(np.int64) - 1]
        self.left, self.right, self.weight = self.left[order], self.right[order], self.weight[order]
        self._component = components(self.n, self.left, self.right)
        self._worst = np.zeros(self.n, dtype=np.int64)
        order = np.lexsort((self.right, self.left, self.weight))
        self._worst[self._component[self.left[order]]] = order  # the last one stays


@dataclass
class NumberedForest:
    """A minimum spanning forest over rows that have numbers of 64 bits; its size grows with the rows in an edge."""

    left: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    right: Words = field(default_factory=lambda: np.empty(0, np.uint64))
    weight: Floats = field(default_factory=lambda: np.empty(0))
    _thinned: int = 0

    def add(self, left: Words, right: Words, weight: Floats) -> None:
        """Add edges (i, j), i < j."""
        self.left, self.right = np.concatenate([self.left, left]), np.concatenate([self.right, right])
        self.weight = np.concatenate([self.weight, weight])
        if len(self.left) > _HELD + 2 * self._thinned:
            self.edges()

    def edges(self) -> tuple[Words, Words, Floats]:
        """The edges (i, j) of the forest, sorted, and their weights."""
        rows, places = np.unique(np.concatenate([self.left, self.right]), return_inverse=True)
        forest = Forest(len(rows))
        first, second = np.split(places.astype(np.int64), 2)
        forest.add(first, second, self.weight)
        left, right, self.weight = forest.strongest()
        self.left, self.right, self._thinned = rows[left], rows[right], len(left)
        return self.left, self.right, self.weight


def components(n: int, left: Ints, right: Ints) -> Ints:
    """Return the number (n,) of the component of each row, in the order of their first rows."""
    root = np.arange(n)
    while len(left):
        first, second = root[left], root[right]
        is_apart = first != second
        left, right, first, second = (values[is_apart] for values in (left, right, first, second))
        np.minimum.at(root, np.maximum(first, second), np.minimum(first, second))
        while not np.array_equal(root, nearer := root[root]):
            root = nearer
    return np.unique(root, return_inverse=True)[1]


CAPTIONS = pa.schema([(name, pa.string()) for name in ("uid", "image_id", "caption", "from_uid")])


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """The result of a search for duplicates.

    decisions: per row; kept, or merged into the survivor's uid with the distance measured between the two. edges:
    [uid_a, uid_b, kind, distance, colour], uid_a < uid_b, sorted: the strongest duplicates that hold each component
    together, one fewer than its rows. distance is 0 for bytes, differing bits for perceptual hashes, the cosine for
    features and records, and the Jaccard index for captions; colour is the colour distance, null where none was taken.
    notes: how duplicates were looked for, and what share of them was found where the search may miss some. compared:
    where it was measured, the rows that were compared with all others: see recall.Recall.
    """

    decisions: Decisions
    edges: pa.Table
    compared: pa.Table | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DuplicatePairs:
    """Pairs (i, j), i < j, of rows that are duplicates; `measure` takes any two rows, `colour` where it counts."""

    left: Ints
    right: Ints
    measure: Callable[[Ints, Ints], Floats]
    colour: Callable[[Ints, Ints], Floats | None] | None = None
    compared: pa.Table | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def in_uid_order(batch: pa.Table, search: Callable[[pa.Table, Ints | slice], Duplicates]) -> Duplicates:
    """Return what `search` finds in the rows of `batch` in the order of uids, its decisions in the batch's own order.

    `search` also gets the rows' places in the batch. Its result then cannot depend on the order of the rows.
    """
    uids = column(batch, "uid", pa.string())
    if pc.all(pc.less_equal(uids[:-1], uids[1:]), min_count=0).as_py():
        return search(batch, slice(None))
    order = np.asarray(pc.sort_indices(uids), dtype=np.int64)
    duplicates = search(batch.take(pa.array(order)), order)
    original_order = pa.array(np.argsort(order))
    names = ("reason", "value", "into", "failed")
    decisions = Decisions(**{name: getattr(duplicates.decisions, name).take(original_order) for name in names})
    return replace(duplicates, decisions=decisions)


def merge(
    batch: pa.Table, duplicates: DuplicatePairs, *, kind: str, reason: str | Callable[[Ints], pa.Array]
) -> Duplicates:
    """Merge the components of `duplicates`, rows of `batch` in uid order, each into its survivor.

    `reason` is one for all, or is made from the survivors (n,) of all rows.
    """
    n = batch.num_rows
    survivors = _survivors(batch, components(n, duplicates.left, duplicates.right))
    goes = survivors != np.arange(n)
    merged_rows = np.flatnonzero(goes)
    value = np.full(n, np.nan)
    value[merged_rows] = duplicates.measure(merged_rows, survivors[merged_rows])
    uids = column(batch, "uid", pa.string())
    reasons = pa.scalar(reason) if isinstance(reason, str) else reason(survivors)
    decisions = Decisions.of(
        reason=pc.if_else(pa.array(goes), reasons, ""),
        value=pa.array(value, mask=~goes),
        into=pc.if_else(pa.array(goes), uids.take(pa.array(survivors)), pa.scalar(None, pa.string())),
    )
    edges = _edges(uids, duplicates, kind)
    return Duplicates(decisions=decisions, edges=edges, compared=duplicates.compared, notes=duplicates.notes)


def last_survivors(merged: pa.Table) -> pa.Array:
    """Return the uid (n,) that each of `merged` [uid, into] ends in, where what it was merged into was merged again."""
    uids, survivors = (column(merged, name, pa.string()) for name in ("uid", "into"))
    onward = pc.index_in(survivors, uids).fill_null(-1).to_numpy().astype(np.int64)
    last = np.arange(len(uids))
    while (goes_on := onward >= 0).any():
        last[goes_on] = last[onward[goes_on]]
        onward[goes_on] = onward[onward[goes_on]]
    return survivors.take(pa.array(last))


def picture_areas(batch: pa.Table) -> Floats:
    """Return width times height (n,) in pixels of the pictures of pairs; 0 where one is null."""
    sides = [column(batch, name, pa.float64()).fill_null(0).to_numpy() for name in ("width", "height")]
    return np.asarray(sides[0] * sides[1], dtype=np.float64)


def _survivors(batch: pa.Table, component: Ints) -> Ints:
    """Return the row (n,) that survives in the component of each row; itself where it is that one."""
    area = picture_areas(batch)
    has_score = "score" in batch.column_names
    score = column(batch, "score", pa.float64()).fill_null(-np.inf).to_numpy() if has_score else np.zeros(len(area))
    return choose_survivors(component, area, score)


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """Columns of the pairs of a partition by which they are compared.

    columns: by name. keys: a hash (n,) that equal pairs share. usable: False for pairs without duplicates.
    """

    columns: Mapping[str, pa.Array | np.ndarray]
    keys: Words
    usable: Flags


def uid_columns(pairs: pa.Table) -> dict[str, pa.Array | np.ndarray]:
    """Columns of pairs for every kind of duplicates: their uids, and the areas of their pictures."""
    return {"uid": column(pairs, "uid", pa.string()), "area": picture_areas(pairs)}


def uid_places(column: pa.ChunkedArray, uids: pa.Array) -> Ints:
    """The places (n,) of a column of uids among `uids`; -1 for those that are not there."""
    places = pc.fill_null(pc.index_in(column.combine_chunks(), uids), -1)
    return np.asarray(places.to_numpy(zero_copy_only=False), dtype=np.int64)


def choose_survivors(component: Ints, area: Floats, score: Floats) -> Ints:
    """Return the row (n,) of the largest area, then score, in the component of each row; of equal ones the first."""
    order = np.lexsort((-score, -area, component))  # stable: rows are in uid order
    starts = np.flatnonzero(np.diff(component[order], prepend=-1))
    best = np.empty(len(area), dtype=np.int64)
    best[component[order[starts]]] = order[starts]
    return best[component]


def _edges(uids: pa.Array, duplicates: DuplicatePairs, kind: str) -> pa.Table:
    order = np.lexsort((duplicates.right, duplicates.left))
    left, right = duplicates.left[order], duplicates.right[order]
    colour: Floats | None = None if duplicates.colour is None else duplicates.colour(left, right)
    return pa.table(
        {
            "uid_a": uids.take(pa.array(left)),
            "uid_b": uids.take(pa.array(right)),
            "kind": pa.repeat(pa.scalar(kind), len(left)),
            "distance": pa.array(duplicates.measure(left, right), pa.float64()),
            "colour": pa.nulls(len(left), pa.float64()) if colour is None else pa.array(colour, pa.float64()),
        }
    )
