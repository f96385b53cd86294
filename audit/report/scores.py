"""Image-text scores of the pairs that were kept and dropped."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.audit.report.plots.figures import score_histogram


def read_scores(build: PublishedBuild) -> list[dict[str, Any]]:
    """The figures that this build has data for: title, text and plot each."""
    record = build.step("align")
    if record is None:
        return []
    table = build.ledger.decisions(record, ["verdict", "value"])
    kept = pc.equal(table["verdict"], "kept")
    series = {
        "kept": _scores(table.filter(kept)["value"]),
        "dropped": _scores(table.filter(pc.invert(kept))["value"]),
    }
    threshold = record.notes.get("threshold")
    text = f"Image-text score of the chosen caption, {table.num_rows:,} pairs."
    if isinstance(threshold, int | float):
        text += f" The line is the threshold, {threshold:.4f}; it acts on the stored score."
    else:
        threshold = None
    plot = score_histogram(series, threshold=threshold)
    return [{"title": "Do picture and caption belong together?", "text": text, "plot": plot}]


def _scores(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.asarray(column.drop_null().to_numpy(zero_copy_only=False), dtype=np.float64)
