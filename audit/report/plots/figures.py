"""The plots of a build's report: ranks, scores, intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from evenly.audit.report.plots.drawing import COLOURS, drawn
from evenly.audit.safe_text import visible

_BINS = 40


def rank_plot(
    matches_before: np.ndarray, matches_after: np.ndarray, weighted: np.ndarray, threshold: float | None
) -> Markup:
    """Matches per concept against its rank, both logarithmic, before balancing and after; a line at the threshold.

    Where preselection made them differ, a thin line shows the matches `weighted` to estimate those of the pool.
    """
    with drawn("Matches per concept by rank, before and after balancing", height=3.6) as ((axes,), done):
        for values, colour, label in ((matches_before, "dropped", "before"), (matches_after, "kept", "after")):
            ordered = np.sort(values[values > 0])[::-1]
            axes.loglog(np.arange(1, len(ordered) + 1), ordered, color=COLOURS[colour], linewidth=2, label=label)
        if not np.allclose(weighted, matches_before):
            ordered = np.sort(weighted[weighted > 0])[::-1]
            ranks = np.arange(1, len(ordered) + 1)
            axes.loglog(ranks, ordered, color=COLOURS["muted"], linewidth=1, label="pool, estimated", zorder=1)
        if threshold is not None and threshold > 0:
            axes.axhline(threshold, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(f"t = {threshold:g}", (1, threshold), xytext=(2, 3), textcoords="offset points",
                          color=COLOURS["muted"], fontsize=9)  # fmt: skip
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        axes.set(xlabel="rank of the concept", ylabel="matches")
        axes.legend(loc="upper right")
    return done()


def score_histogram(series: Mapping[str, np.ndarray], *, threshold: float | None, stacked: bool, label: str) -> Markup:
    """Histogram of named series of scores; a line at the threshold."""
    values = np.concatenate([*series.values(), np.array([])])
    with drawn(f"Histogram of the {label}: {', '.join(series)}") as ((axes,), done):
        edges = _bin_edges(values, threshold)
        names = [name for name in series if len(series[name])]
        colours = [COLOURS["dropped" if name in ("dropped", "original caption") else "kept"] for name in names]
        kind: Any = "stepfilled" if not stacked else "bar"
        if names:
            axes.hist([series[name] for name in names], bins=edges.tolist(), stacked=stacked, histtype=kind,
                      color=colours, label=names, alpha=1.0 if stacked else 0.55)  # fmt: skip
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderaxespad=0, handlelength=1.2)
        if threshold is not None:
            axes.axvline(threshold, color=COLOURS["ink"], linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set(xlabel=label, ylabel="pairs")
        axes.grid(visible=False, axis="x")
    return done()


def _bin_edges(values: np.ndarray, threshold: float | None) -> np.ndarray:
    """Edges of equal bins over all values, with one edge at the threshold, so that no bin holds both sides of it."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    width = (high - low) / _BINS or 1.0
    start = low if threshold is None else threshold - np.ceil((threshold - low) / width) * width
    edges = np.asarray(start + width * np.arange(max(np.ceil((high - start) / width), 1) + 1))
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)  # rounding must not leave a score out
    return edges


def interval_plot(
    labels: Sequence[str], rows: Sequence[Mapping[str, Any]], baseline: Mapping[str, Any] | None
) -> Markup:
    """Accuracy with its interval per labelled row, the first on top; a line at the accuracy of the baseline."""
    shown = [(label, row) for label, row in zip(labels, rows, strict=True) if row.get("accuracy") is not None]
    with drawn("Accuracy on the test part with 95 % intervals", height=0.9 + 0.34 * len(shown)) as ((axes,), done):
        for place, (_, row) in enumerate(shown):
            low, high = (row["accuracy"] if row.get(end) is None else row[end] for end in ("low", "high"))
            colour = COLOURS["muted" if row.get("name") == "zero_shot" else "kept"]
            axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([row["accuracy"]], [place], "o", color=colour, markersize=6)
        if baseline is not None and baseline.get("accuracy") is not None:
            axes.axvline(baseline["accuracy"], color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(shown)), [visible(label)[:48] for label, _ in shown])
        axes.invert_yaxis()
        axes.margins(y=0.12)
        axes.set(xlabel="accuracy on the test part")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
    return done()
