"""Image-text scores: of the pairs that were kept and dropped, and of captions before and after they were rewritten."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.audit.report.plots.figures import score_histogram


def read_scores(build: PublishedBuild) -> list[dict[str, Any]]:
    """The figures that this build has data for: title, text and plot each."""
    return [figure for figure in (_alignment(build), _captions(build)) if figure is not None]


def _alignment(build: PublishedBuild) -> dict[str, Any] | None:
    record = build.step("align")
    if record is None:
        return None
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
    plot = score_histogram(series, threshold=threshold, stacked=True, label="image-text score")
    return {"title": "Do picture and caption belong together?", "text": text, "plot": plot}


def _captions(build: PublishedBuild) -> dict[str, Any] | None:
    table = build.table("recaption", "candidates", ["uid", "origin", "score"])
    record = build.step("recaption")
    if table is None or record is None or "caption_score" not in record.columns:
        return None
    original = table.filter(pc.equal(table["origin"], "original"))
    chosen = build.ledger.decisions(record, ["uid", "caption_origin", "caption_score"])
    rewritten = chosen.filter(pc.not_equal(pc.fill_null(chosen["caption_origin"], "original"), "original"))
    places = pc.index_in(rewritten["uid"], original["uid"].combine_chunks())
    original_scores = original["score"].combine_chunks().take(places.combine_chunks())
    series = {"original caption": _scores(original_scores), "chosen caption": _scores(rewritten["caption_score"])}
    text = f"The {rewritten.num_rows:,} of {chosen.num_rows:,} pairs whose caption was replaced"
    if len(series["original caption"]) and len(series["chosen caption"]):
        medians = [float(np.median(values)) for values in series.values()]
        text += f": the median score rose from {medians[0]:.4f} to {medians[1]:.4f}; it is what captions are chosen by."
    else:
        text += "."
    plot = score_histogram(series, threshold=None, stacked=False, label="image-text score")
    return {"title": "Captions before and after", "text": text, "plot": plot}


def _scores(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.asarray(column.drop_null().to_numpy(zero_copy_only=False), dtype=np.float64)
