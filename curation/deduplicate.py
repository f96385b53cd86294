"""Merge pairs whose pictures are the same: equal bytes, nearly equal looks, or nearly equal features.

Twins become components by union-find. The survivor of a component is the pair with the largest picture (width times
height), then the highest score where a score column is given, then the smallest uid. Every other pair is merged into
it, with the distance measured between the two; a chain of twins can join two that are no twins themselves.
Source: SemDeDup (Abbas et al. 2023, arXiv:2303.09540) for features, pHash for looks; the colour grid is ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.columns import column, fixed_rows
from curation.decisions import Decisions
from curation.errors import ColumnsError, RuleError
from curation.fingerprints import COLOUR_BYTES
from curation.twins import Floats, Ints, close_hashes, close_rows, colour_distances, cosines, hash_distances


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What a search for duplicates decided.

    decisions: per row; kept, or merged into the survivor's uid with the distance measured between the two.
    edges: [uid_a, uid_b, kind, distance, colour], uid_a < uid_b, sorted: the twins that were found. distance is 0 for
    bytes, differing bits for looks and the cosine for features; colour is the colour distance, null for bytes.
    """

    decisions: Decisions
    edges: pa.Table


@dataclass(frozen=True, kw_only=True)
class Perceptual:
    """Twins have perceptual hashes within `max_distance` of 64 bits and colour grids within `max_colour` of 255.

    The hash is of grey levels and takes skin tones and flags for duplicates; the grid tells them apart. Defaults were
    chosen on one half of OpenMoji; on the other, with one picture in ten varied: recall 0.935 at precision 0.904, and
    over all 0.959 at 0.909, where the hash alone has a precision of 0.13 (benchmarks/near_duplicates.py).
    """

    max_distance: int = 16
    max_colour: float = 22.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_distance <= 64:
            raise RuleError(f"`max_distance` must be 0 to 64 bits; got {self.max_distance}. Correct the recipe.")
        _check_colour(self.max_colour)


@dataclass(frozen=True, kw_only=True)
class Semantic:
    """Twins have features of cosine at least `min_cosine` and colour grids within `max_colour` (see Perceptual)."""

    min_cosine: float = 0.95
    max_colour: float = 22.0

    def __post_init__(self) -> None:
        if not 0 < self.min_cosine <= 1:
            raise RuleError(f"`min_cosine` must be above 0 and at most 1; got {self.min_cosine}. Correct the recipe.")
        _check_colour(self.max_colour)


def deduplicate_exact(batch: pa.Table) -> Duplicates:
    """Merge pairs with equal bytes: same_url where the URL is the survivor's, else exact_duplicate; distance 0.

    `batch`: uid, url, image_id, width, height and, optionally, score. A null image_id has no twins.
    """
    images = column(batch, "image_id", pa.string()).dictionary_encode()
    names = images.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    left, right = _runs(names, usable=names >= 0)
    survivors = _survivors(batch, _components(batch.num_rows, left, right))
    urls = column(batch, "url", pa.string()).to_pylist()
    equal = [url == urls[survivor] for url, survivor in zip(urls, survivors, strict=True)]
    reasons = ["same_url" if same else "exact_duplicate" for same in equal]
    distances = np.zeros(batch.num_rows)
    edges = _edges(batch, left, right, kind="exact", distance=np.zeros(len(left)), colour=None)
    return Duplicates(decisions=_merged(batch, survivors, reasons, distances), edges=edges)


def deduplicate_perceptual(batch: pa.Table, rule: Perceptual) -> Duplicates:
    """Merge pairs that look alike as near_duplicate; the distance is in bits.

    `batch`: uid, width, height, phash, colour and, optionally, score. Rows with a null phash or colour have no twins.
    """
    hashes = column(batch, "phash", pa.uint64())
    bits = hashes.fill_null(0).to_numpy()
    colours, usable = _colours(batch)
    usable &= hashes.is_valid().to_numpy(zero_copy_only=False)
    left, right = _find(_groups(bits, colours), usable, lambda rows: close_hashes(bits[rows], rule.max_distance))
    near = colour_distances(colours, left, right) <= rule.max_colour
    return _decide(
        batch,
        left[near],
        right[near],
        kind="perceptual",
        reason="near_duplicate",
        colours=colours,
        measure=lambda a, b: hash_distances(bits, a, b),
    )


def deduplicate_semantic(batch: pa.Table, rows: npt.NDArray[np.float16], rule: Semantic) -> Duplicates:
    """Merge pairs whose features nearly agree as semantic_duplicate; the distance is the cosine, 4 digits.

    `batch`: uid, width, height, colour and, optionally, score; `rows` (n, d) unit features of the same pairs.
    """
    if len(rows) != batch.num_rows:
        text = f"`rows` must be the features of the {batch.num_rows} pairs; got {len(rows)}. Read those of the batch."
        raise ColumnsError(text)
    colours, usable = _colours(batch)
    left, right = _find(_groups(rows, colours), usable, lambda some: close_rows(rows[some], rule.min_cosine))
    near = colour_distances(colours, left, right) <= rule.max_colour
    return _decide(
        batch,
        left[near],
        right[near],
        kind="semantic",
        reason="semantic_duplicate",
        colours=colours,
        measure=lambda a, b: cosines(rows, a, b),
    )


def _check_colour(max_colour: float) -> None:
    if not 0 <= max_colour <= 255:
        raise RuleError(f"`max_colour` must be 0 to 255 levels; got {max_colour}. Correct the recipe.")


def _colours(batch: pa.Table) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return colour grids (n, 768) and which rows have one."""
    valid = batch["colour"].is_valid().to_numpy() if "colour" in batch.column_names else np.empty(0, np.bool_)
    return fixed_rows(batch, "colour", pa.uint8(), COLOUR_BYTES), np.array(valid, dtype=np.bool_)


def _groups(*arrays: npt.NDArray[np.generic]) -> Ints:
    """Return a group number (n,) per row; rows equal to the byte in all arrays share one."""
    keys = [b"".join(array[row].tobytes() for array in arrays) for row in range(len(arrays[0]))]
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _find(groups: Ints, usable: npt.NDArray[np.bool_], close: Callable[[Ints], tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    """Return pairs of rows: equal ones as a chain, and the close ones among the first of each group.

    A placeholder picture that stands a thousand times thus gives a thousand edges, not half a million.
    """
    same_left, same_right = _runs(groups, usable=usable)
    rows = np.flatnonzero(usable)
    firsts = np.sort(rows[np.unique(groups[rows], return_index=True)[1]])
    left, right = close(firsts)
    return np.concatenate([same_left, firsts[left]]), np.concatenate([same_right, firsts[right]])


def _runs(groups: Ints, *, usable: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return each usable row with the next one of its group."""
    order = np.flatnonzero(usable)
    order = order[np.argsort(groups[order], kind="stable")]
    same = np.flatnonzero(groups[order][1:] == groups[order][:-1])
    return order[same], order[same + 1]


def _decide(
    batch: pa.Table,
    left: Ints,
    right: Ints,
    *,
    kind: str,
    reason: str,
    colours: npt.NDArray[np.uint8],
    measure: Callable[[Ints, Ints], Floats],
) -> Duplicates:
    survivors = _survivors(batch, _components(batch.num_rows, left, right))
    distances = measure(np.arange(batch.num_rows), survivors)
    colour = colour_distances(colours, left, right)
    edges = _edges(batch, left, right, kind=kind, distance=measure(left, right), colour=colour)
    return Duplicates(decisions=_merged(batch, survivors, [reason] * len(survivors), distances), edges=edges)


def _components(n: int, left: Ints, right: Ints) -> Ints:
    """Return the component (n,) of each row, by union-find with path halving."""
    parent = list(range(n))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    return np.array([root(row) for row in range(n)], dtype=np.int64)


def _survivors(batch: pa.Table, component: Ints) -> Ints:
    """Return the row (n,) that survives in the component of each row; itself where it is that one."""
    sides = [column(batch, name, pa.float64()).fill_null(0).to_numpy() for name in ("width", "height")]
    area = sides[0] * sides[1]
    given = "score" in batch.column_names
    score = column(batch, "score", pa.float64()).fill_null(-np.inf).to_numpy() if given else np.zeros(len(area))
    uids = np.asarray(column(batch, "uid", pa.string()).to_pylist(), dtype=np.str_)
    order = np.lexsort((uids, -score, -area, component))
    starts = np.flatnonzero(np.diff(component[order], prepend=-1))
    best = np.empty(len(area), dtype=np.int64)
    best[component[order[starts]]] = order[starts]
    return best[component]


def _merged(batch: pa.Table, survivors: Ints, reasons: Sequence[str], distances: Floats) -> Decisions:
    goes = pa.array(survivors != np.arange(len(survivors)))
    return Decisions.of(
        reason=pc.if_else(goes, pa.array(reasons, pa.string()), ""),
        value=pc.if_else(goes, pa.array(distances, pa.float64()), pa.scalar(None, pa.float64())),
        into=pc.if_else(
            goes, column(batch, "uid", pa.string()).take(pa.array(survivors)), pa.scalar(None, pa.string())
        ),
    )


def _edges(batch: pa.Table, left: Ints, right: Ints, *, kind: str, distance: Floats, colour: Floats | None) -> pa.Table:
    uids = column(batch, "uid", pa.string())
    first, second = uids.take(pa.array(left)), uids.take(pa.array(right))
    columns = {
        "uid_a": pc.if_else(pc.less(first, second), first, second),
        "uid_b": pc.if_else(pc.less(first, second), second, first),
        "kind": pa.repeat(pa.scalar(kind), len(left)),
        "distance": pa.array(distance, pa.float64()),
        "colour": pa.nulls(len(left), pa.float64()) if colour is None else pa.array(colour, pa.float64()),
    }
    return pa.table(columns).sort_by([("uid_a", "ascending"), ("uid_b", "ascending")])
