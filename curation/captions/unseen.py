"""Concepts that captions name and their pictures do not show, as far as an encoder can tell.

A concept is unseen where the picture is farther from it than most pictures of the pool are, so that nobody has to know
which cosine an encoder gives to a thing that is there. This is said of concepts alone that the encoder recognises:
pictures whose given captions name them are nearer to them than others are, as for "truck", not for "background". A
sample of pairs, drawn by hash, stands for the pool.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.arrays import Floats, Ints
from evenly.curation.draws import draws

SAMPLE = 10_000
"""Pairs that stand for the pool."""
BEYOND = 0.5
"""A concept is unseen where more than this share of the sample is nearer to it."""
RECOGNISED = 0.6
"""A recognised concept is nearer to pictures named by it than to others, with a larger chance by its lower bound."""
_NORMAL = 1.6449  # the one-sided 95 % quantile
_DRAW = "draw"


def draw_pairs(pairs: pa.Table, *, seed: int) -> pa.Table:
    """Return the first SAMPLE of pairs [uid, ...] by their draws, which are a further column."""
    uids = pairs["uid"].combine_chunks()
    drawn = draws(seed=seed, step="unseen", uids=uids.to_pylist(), entries=["pair"] * len(uids))
    return _first(pairs.append_column(_DRAW, pa.array(drawn, pa.float64())))


def join_draws(parts: Sequence[pa.Table]) -> pa.Table:
    """Return the first SAMPLE pairs of all parts, each of `draw_pairs`."""
    return _first(pa.concat_tables(parts)).drop([_DRAW])


def _first(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(_DRAW, "ascending"), ("uid", "ascending")]).slice(0, SAMPLE).combine_chunks()


def recognised_limits(cosines: Floats, named: Sequence[Ints]) -> Floats:
    """Return the cosine (m,) below which each concept is unseen, NaN for those that are not recognised.

    cosines: (m, n) with the pictures of the sample; named: for each concept the places of those whose captions name it.
    """
    limits = np.full(len(cosines), np.nan)
    above = int(BEYOND * cosines.shape[1])
    for place, (row, entries) in enumerate(zip(cosines, named, strict=True)):
        ordered = np.sort(row)
        if _least_chance(ordered, row[entries]) > RECOGNISED:
            limits[place] = ordered[len(row) - 1 - above]
    return limits


def _least_chance(ordered: Floats, named: Floats) -> float:
    """The 95 % lower bound of the chance that one of `named` exceeds another cosine, ties half (Mann-Whitney)."""
    n_named, n_unnamed = len(named), len(ordered) - len(named)
    if not n_named or not n_unnamed:
        return 0.0
    below = np.searchsorted(ordered, named, side="left") + np.searchsorted(ordered, named, side="right")
    chance = (float(below.sum()) / 2 - n_named * n_named / 2) / (n_named * n_unnamed)
    return chance - _NORMAL * math.sqrt((n_named + n_unnamed + 1) / (12 * n_named * n_unnamed))


def unseen_names(is_unseen: npt.NDArray[np.bool_], parents: Ints, names: pa.Array, *, n_rows: int) -> pa.ListArray:
    """Return list<string> per row: the names of its unseen concepts; these come one after another with their rows."""
    counts = np.bincount(parents[is_unseen], minlength=n_rows)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names.filter(pa.array(is_unseen)))
