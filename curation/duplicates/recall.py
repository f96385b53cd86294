"""The recall of a search for duplicates: some rows, drawn by hash, are compared with all others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation.arrays import Flags, Floats, Ints
from evenly.curation.draws import draws
from evenly.curation.duplicates.merging import Pairs, components
from evenly.curation.intervals import wilson_interval

_MOST_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class Recall:
    """The share of duplicates that a search found, and the rows that it was measured on.

    notes: `recall`, None where the drawn rows have no duplicates; under `recall_sample` rows, twins, found and a 95 %
    interval. compared: [uid, twin, found], sorted: the drawn rows and each of their duplicates, null where one has
    none.
    """

    notes: dict[str, Any]
    compared: pa.Table


def measure_recall(
    uids: pa.Array,
    searched: Ints,
    edges: Pairs,
    all_duplicates: Callable[[Ints, Ints], Pairs],
    *,
    seed: int,
    step: str,
    comparisons: int,
) -> Recall:
    """Measure how many of all duplicates of some rows are in one component of the `edges` with them.

    Of the rows that were `searched`, some are drawn by a hash of their uid: as many as `comparisons` with all of them
    allow, at most 1,000. `all_duplicates` compares rows with others, here these with all that were searched.
    """
    drawn, _ = smallest_draws(uids.take(pa.array(searched)), seed=seed, step=step)
    rows = np.sort(searched[drawn[: drawn_count(len(searched), comparisons)]])
    duplicates = np.unique(np.stack(all_duplicates(rows, searched), axis=1), axis=0)
    component = components(len(uids), *edges)
    return recall_among(uids, rows, duplicates, component)


def smallest_draws(uids: pa.Array, *, seed: int, step: str) -> tuple[Ints, Floats]:
    """Return the 1,000 rows of `uids` with the smallest draws, in their order, and these draws."""
    drawn = draws(seed=seed, step=step, uids=uids.to_pylist(), entries=["recall"] * len(uids))
    order = np.argsort(drawn, kind="stable")[:_MOST_ROWS]
    return order.astype(np.int64), drawn[order]


def drawn_count(n: int, comparisons: int) -> int:
    """The number of `n` searched rows that are compared with all of them."""
    return min(_MOST_ROWS, max(1, comparisons // max(n, 1)))


def recall_among(uids: pa.Array, rows: Ints, duplicates: Ints, component: Ints) -> Recall:
    """The recall over all `duplicates` (k, 2), sorted, of the drawn `rows`; `component` (n,) joins some."""
    joined = component[duplicates[:, 0]] == component[duplicates[:, 1]]
    n_found = int(joined.sum())
    sample = {
        "rows": len(rows),
        "twins": len(duplicates),
        "found": n_found,
        "interval": _interval(n_found, len(duplicates)),
    }
    notes = {"recall": round(n_found / len(duplicates), 4) if len(duplicates) else None, "recall_sample": sample}
    return Recall(notes=notes, compared=_compared(uids, rows, duplicates, joined))


def _interval(n_found: int, total: int) -> list[float]:
    """The 95 % interval [low, high] of a share, 4 digits; [0, 1] where nothing was counted."""
    return [round(end, 4) for end in wilson_interval(n_found / total, total)] if total else [0.0, 1.0]


def _compared(uids: pa.Array, rows: Ints, duplicates: Ints, joined: Flags) -> pa.Table:
    """The table of drawn `rows`, each with each of its `duplicates` (k, 2), k of which are `joined`."""
    pairs = np.concatenate([duplicates, duplicates[:, ::-1]])
    drawn = np.isin(pairs[:, 0], rows)
    pairs, is_found = pairs[drawn], np.concatenate([joined, joined])[drawn]
    without_twin = np.setdiff1d(rows, pairs[:, 0])
    pairs = np.concatenate([pairs, np.stack([without_twin, without_twin], axis=1)])
    has_none = np.arange(len(pairs)) >= len(is_found)
    table = pa.table(
        {
            "uid": uids.take(pa.array(pairs[:, 0])),
            "twin": uids.take(pa.array(pairs[:, 1], mask=has_none)),
            "found": pa.array(np.concatenate([is_found, np.zeros(len(without_twin), np.bool_)]), mask=has_none),
        }
    )
    return table.take(pa.array(np.lexsort((pairs[:, 1], pairs[:, 0]))))
