"""What share of twins a search found: some rows, drawn by hash, are compared with all others."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curation.candidates import Ints
from curation.components import components
from curation.draws import draws

_MOST_ROWS = 1000
_Z = 1.959963984540054  # of a 95 % interval


def measure_recall(
    uids: pa.Array,
    searched: Ints,
    edges: tuple[Ints, Ints],
    all_twins: Callable[[Ints, Ints], tuple[Ints, Ints]],
    *,
    seed: int,
    step: str,
    comparisons: int,
) -> dict[str, Any]:
    """Return `recall` and, under `recall_sample`, what it was measured on: rows, twins, found and a 95 % interval.

    Of the rows that were `searched`, some are drawn by a hash of their uid: as many as `comparisons` with all of them
    allow, at most 1,000. `all_twins` compares these with all. A twin counts as found if both ended in one component of
    the `edges`. recall is None where the drawn rows have no twins.
    """
    n = len(searched)
    some = uids.take(pa.array(searched)).to_pylist()
    order = np.argsort(draws(seed=seed, step=step, uids=some, entries=["recall"] * n), kind="stable")
    rows = np.sort(searched[order[: min(_MOST_ROWS, max(1, comparisons // max(n, 1)))]])
    twins = np.unique(np.stack(all_twins(rows, searched), axis=1), axis=0)
    component = components(len(uids), *edges)
    found = int((component[twins[:, 0]] == component[twins[:, 1]]).sum())
    sample = {"rows": len(rows), "twins": len(twins), "found": found, "interval": wilson_interval(found, len(twins))}
    return {"recall": round(found / len(twins), 4) if len(twins) else None, "recall_sample": sample}


def wilson_interval(found: int, of: int) -> Sequence[float]:
    """Return Wilson's 95 % interval [low, high] of a share, 4 digits; [0, 1] where nothing was counted."""
    if not of:
        return [0.0, 1.0]
    share, spread = found / of, _Z**2 / of
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * np.sqrt(share * (1 - share) / of + spread / (4 * of)) / (1 + spread)
    return [round(float(max(0.0, centre - half)), 4), round(float(min(1.0, centre + half)), 4)]
