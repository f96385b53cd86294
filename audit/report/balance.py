"""Head and tail: how often each concept is named before balancing and after."""

from typing import Any

import numpy as np
import pyarrow as pa

from audit.published import PublishedBuild
from audit.report.figures import rank_plot

TOP = 20


def read_balance(build: PublishedBuild) -> dict[str, Any] | None:
    """The section's facts, None where the build does not balance.

    The tail are the concepts that balancing leaves alone (p = 1), the head those that it thins out. Shares are of all
    matches: a pair that names several concepts counts for each. `weighted` estimates the matches in the whole pool,
    from pairs that a preselection let through, each counted by the inverse of its chance.
    """
    table = build.table("balance", "counts", ["concept", "before", "weighted", "after", "p"])
    if table is None or not table.num_rows:
        return None
    table = table.sort_by([("before", "descending"), ("concept", "ascending")])
    before, after = _numbers(table, "before"), _numbers(table, "after")
    weighted = _numbers(table, "weighted")
    named = before > 0
    if not named.any():
        return None
    tail = _numbers(table, "p") >= 1
    return {
        "concepts": int(named.sum()),
        "concepts_after": int((after > 0).sum()),
        "head": int((named & ~tail).sum()),
        "tail": int((named & tail).sum()),
        "t": _threshold(build),
        "tail_before": _share(before, tail),
        "tail_after": _share(after, tail),
        "top_before": _share(before, np.arange(len(before)) < TOP),
        "top_after": _share(after, np.arange(len(after)) < TOP),
        "largest_before": float(before.max()),
        "rows": table.slice(0, TOP).filter(pa.array(named[:TOP])).to_pylist(),
        "weighted": bool(not np.allclose(weighted, before)),
        "plot": rank_plot(before[named], after[named], weighted[named], _threshold(build)),
    }


def _threshold(build: PublishedBuild) -> float | None:
    """The matches per concept that balancing aims at, where the step says so."""
    record = build.step("balance")
    found = None if record is None else record.notes.get("t", record.rule.get("t"))
    return float(found) if isinstance(found, int | float) else None


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _share(counts: np.ndarray, part: np.ndarray) -> float:
    total = float(counts.sum())
    return float(counts[part].sum()) / total if total else 0.0
