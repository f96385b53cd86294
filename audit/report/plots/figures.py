"""The plots of a build's report: ranks, scores, intervals.

As SVG that takes its colours and fonts from the page, so that it follows light and dark; or that stands alone.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup

from evenly.audit.safe_text import visible
from evenly.curation.arrays import Ints
from evenly.curation.captions.outcomes import UNIT, ScoreCounts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Stand-ins that matplotlib writes into the SVG -> the page's variables that replace them.
COLOURS = {
    "ink": "#0a0b01",
    "muted": "#0a0b02",
    "line": "#0a0b03",
    "kept": "#0a0b04",
    "dropped": "#0a0b05",
    "failed": "#0a0b06",
    "merged": "#0a0b07",
}
SERIES = ("#0072b2", "#d55e00", "#009e73", "#c46c9c", COLOURS["ink"])
"""For lines that must be told apart: after Okabe and Ito, with 3:1 contrast and more on white and on black."""
MARKERS = ("o", "s", "^", "D", "v")
_ALONE = {
    "ink": "#1f1e1b",
    "muted": "#6a675f",
    "line": "#e3e0d8",
    "kept": "#25705a",
    "dropped": "#ad4720",
    "failed": "#80600f",
    "merged": "#4d5ca3",
    "sans": "system-ui, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif",
}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "text.color": COLOURS["ink"],
    "legend.frameon": False,
    "axes.grid": True,
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
    "grid.alpha": 0.6,
}


@contextmanager
def drawn(
    description: str,
    *,
    height: float = 3.0,
    width: float = 6.2,
    panels: tuple[int, int] = (1, 1),
    share: bool = True,
    height_ratios: Sequence[float] | None = None,
) -> Iterator[tuple[list["Axes"], Callable[[], Markup]]]:
    """Axes to draw on, row by row, and a function that gives the SVG once they are drawn.

    `width` and `height` of the whole in inches; `panels` (rows, columns), which `share` their y axis.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    description = visible(description)
    settings = _SETTINGS | {"svg.hashsalt": description}  # ids in the SVG must differ between figures of a page
    with mpl.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        axes = list(figure.subplots(*panels, squeeze=False, sharey=share, height_ratios=height_ratios).flat)
        for axis in axes:
            axis.set_facecolor("none")
            axis.set_axisbelow(True)

        def done() -> Markup:
            stream = io.StringIO()
            metadata: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
            with mpl.rc_context(settings), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Glyph ", UserWarning)  # the reader's fonts draw the text
                figure.savefig(stream, format="svg", metadata=metadata)
            return _themed(stream.getvalue(), description)

        yield axes, done


def standing_alone(svg: Markup) -> str:
    """The text of an SVG file: the colours of the light page written out, on white."""
    text = str(svg)
    for name, value in _ALONE.items():
        text = text.replace(f"var(--{name})", value)
    head = text.index(">") + 1
    return f'{text[:head]}\n <rect width="100%" height="100%" fill="#ffffff"/>{text[head:]}'


def _themed(svg: str, description: str) -> Markup:
    """The svg element alone, with the page's colours and font, scaling with its box, and named for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(
        r' id="(?:figure|axes|patch|xtick|ytick|line2d|text|legend|matplotlib\.axis|[A-Za-z]*Collection)_\d+"', "", svg
    )
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font: \1px var(--sans)", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    named = f'<svg role="img" aria-label="{Markup.escape(description)}"'
    return Markup(svg.replace("<svg", named, 1))  # noqa: S704 - matplotlib's output, in which it escapes all text


_BINS, _RANKS = 40, 1_000


def rank_plot(series: Mapping[str, np.ndarray], *, head: int, threshold: float | None) -> Markup:
    """Matches per concept against its rank, both logarithmic, a line per moment: first before any draw, last kept.

    What was taken is shaded between the two; ranks up to `head`, of the first, are marked, unless it is 0; a
    line at the threshold.
    """
    curves = {name: np.sort(values[values > 0])[::-1] for name, values in series.items()}
    first, last = (list(curves.values())[place] for place in (0, -1))
    with drawn(_ranks_in_words(curves, head), height=3.7, width=5.6) as ((axes,), done):
        colours = ["dropped", *["muted"] * (len(curves) - 2), "kept"]
        for (name, values), colour in zip(curves.items(), colours, strict=True):
            width, style = (1.0, (0, (2, 2))) if colour == "muted" else (2.2, "-")
            ranks = _drawn_ranks(len(values))
            axes.loglog(ranks, values[ranks - 1], color=COLOURS[colour], linewidth=width, linestyle=style, label=name)
        shared = _drawn_ranks(min(len(first), len(last)))
        axes.fill_between(shared, last[shared - 1], first[shared - 1], color=COLOURS["dropped"], alpha=0.14, lw=0)
        if 0 < head < len(first):
            axes.axvline(head + 0.5, color=COLOURS["ink"], linewidth=1)
            for text, side, shift in (("head", "right", -5), ("tail", "left", 5)):
                axes.annotate(text, (head + 0.5, 1), xycoords=("data", "axes fraction"), xytext=(shift, 3), ha=side,
                              textcoords="offset points", color=COLOURS["ink"], fontsize=10)  # fmt: skip
        if threshold is not None and threshold > 0:
            axes.axhline(threshold, color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(f"t = {threshold:g}", (1, threshold), xytext=(2, -11), textcoords="offset points",
                          color=COLOURS["muted"], fontsize=9)  # fmt: skip
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,g}")
            axis.set_minor_formatter("")
        axes.set(xlabel="rank of the concept, the most frequent first", ylabel="matches")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.07), ncols=3, borderaxespad=0, fontsize=9)
    return done()


def _drawn_ranks(n: int) -> Ints:
    """Ranks of 1 to n (k,), all of few, else evenly spaced on a logarithmic axis: more dots than a screen shows."""
    return np.unique(np.geomspace(1, n, _RANKS).round().astype(np.int64)) if n else np.empty(0, np.int64)


def rank_rows(series: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Points of `rank_plot`, as rows: rank (1, 2, 5, 10, 20, ...) and the matches of the concept there per moment."""
    curves = {name: np.sort(values[values > 0])[::-1] for name, values in series.items()}
    last = max((len(values) for values in curves.values()), default=0)
    ranks = [step * 10**power for power in range(len(str(last))) for step in (1, 2, 5) if step * 10**power <= last]
    return [
        {"rank": rank}
        | {name: float(values[rank - 1]) if rank <= len(values) else None for name, values in curves.items()}
        for rank in ranks
    ]


def _ranks_in_words(curves: Mapping[str, np.ndarray], head: int) -> str:
    most = ", ".join(f"{name} {values[0] if len(values) else 0:,.0f}" for name, values in curves.items())
    thinned = f"The first {head:,} concepts are the head, which balancing thins out. " if head else ""
    return (
        f"Matches per concept by rank, both axes logarithmic. The most frequent concept has, {most}. {thinned}"
        "A table beside the plot has the numbers"
    )


def score_histogram(series: Mapping[str, np.ndarray], *, threshold: float | None) -> Markup:
    """Histogram of the image-text scores of what was kept and what was dropped; a line at the threshold."""
    values = np.concatenate([*series.values(), np.array([])])
    with drawn(f"Histogram of the image-text score: {', '.join(series)}") as ((axes,), done):
        edges = _bin_edges(values, threshold)
        names = [name for name in series if len(series[name])]
        if names:
            axes.hist([series[name] for name in names], bins=edges.tolist(), stacked=True, label=names,
                      color=[COLOURS[name] for name in names])  # fmt: skip
            axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderaxespad=0, handlelength=1.2)
        if threshold is not None:
            axes.axvline(threshold, color=COLOURS["ink"], linewidth=1.2, linestyle=(0, (4, 3)))
        axes.set(xlabel="image-text score", ylabel="pairs")
        axes.grid(visible=False, axis="x")
    return done()


def before_after_plot(panels: Mapping[str, tuple[ScoreCounts, ScoreCounts]]) -> Markup:
    """Histograms of scores of original and chosen captions of the same pairs, a panel for each encoder by its name."""
    described = [
        f"by {name} from {original.mean:.4f} to {chosen.mean:.4f}"
        for name, (original, chosen) in panels.items()
        if original.mean is not None and chosen.mean is not None
    ]
    title = f"Scores of original and chosen captions of the same pairs; means {', '.join(described)}"
    with drawn(title, height=2.5, panels=(1, len(panels)), share=False) as (axes, done):
        for axis, (name, (original, chosen)) in zip(axes, panels.items(), strict=True):
            edges = _bin_edges(np.concatenate([original.units, chosen.units]) * UNIT, None)
            for label, counts, colour in (("original", original, "dropped"), ("chosen", chosen, "kept")):
                heights = np.histogram(counts.units * UNIT, bins=edges, weights=counts.counts)[0]
                axis.stairs(heights, edges, fill=True, color=COLOURS[colour], alpha=0.55, label=label)
            axis.set(xlabel=f"score by {visible(name)[:32]}", ylabel="pairs")
            axis.grid(visible=False, axis="x")
        axes[0].legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderaxespad=0, handlelength=1.2)
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
    labels: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    baseline: Mapping[str, Any] | None,
    *,
    measure: str = "accuracy on the test part",
) -> Markup:
    """Accuracy, or another measure, with its interval per labelled row, the first on top; a line at the baseline's."""
    shown = [(label, row) for label, row in zip(labels, rows, strict=True) if row.get("accuracy") is not None]
    with drawn(f"{measure[0].upper()}{measure[1:]} with 95 % intervals", height=0.9 + 0.34 * len(shown)) as (
        (axes,),
        done,
    ):
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
        axes.set(xlabel=visible(measure))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
    return done()


PANEL = (3.3, 2.5)
"""Inches of a panel with its labels beside it; `_LABEL_STEP` goes with the height."""

_NAME_LENGTH = 24
_LABEL_STEP = 0.068
"""Least distance of two labels, as a share of the height of a panel: a line of 9 points."""


class Line(NamedTuple):
    """Points in the order of `x` (k,); `low` and `high` are NaN where there is no interval."""

    x: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def line_of(rows: Sequence[Mapping[str, Any]], x: str) -> Line:
    """The line through rows of accuracy, low, high in the order of column `x`; rows without accuracy are left out."""
    measured = [row for row in rows if row["accuracy"] is not None and not np.isnan(row["accuracy"])]
    ordered = sorted(measured, key=lambda row: row[x])
    names = (x, "accuracy", "low", "high")
    return Line(*(np.array([row.get(name) for row in ordered], dtype=np.float64) for name in names))


def limits(lines: Iterable[Line]) -> tuple[float, float]:
    """The range of all points and intervals, with some room."""
    values = np.concatenate([*(np.concatenate(line[1:]) for line in lines), np.empty(0)])
    numbers = values[~np.isnan(values)]
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room


def draw_line(panel: "Axes", line: Line, place: int) -> str:
    """Draw the line in the colour and with the marker of its `place` among those of the panel; the colour."""
    colour, marker = SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]
    panel.plot(line.x, line.accuracy, color=colour, linewidth=1.8, marker=marker, markersize=4.5, zorder=3)
    if len(line.x) > 1:
        panel.fill_between(line.x, line.low, line.high, color=colour, alpha=0.16, linewidth=0, zorder=2)
    else:
        panel.vlines(line.x, line.low, line.high, color=colour, linewidth=1.8, zorder=2)
    return colour


def label_ends(panel: "Axes", labels: Sequence[tuple[Line, str, str]]) -> None:
    """Write (line, name, colour) beside each line's last point, moved up or down so that no two overlap.

    The name is in ink, which can be read on any page, and a mark in the colour leads to it.
    """
    low, high = panel.get_ylim()
    ends = np.array([(line.accuracy[-1] - low) / (high - low) for line, _, _ in labels])
    for (line, name, colour), place in zip(labels, _spaced_places(ends), strict=True):
        panel.annotate(
            visible(name)[:_NAME_LENGTH],
            (line.x[-1], line.accuracy[-1]),
            xytext=(1.05, place),
            textcoords="axes fraction",
            color=COLOURS["ink"],
            fontsize=9,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
            annotation_clip=False,
        )


def _spaced_places(ends: np.ndarray) -> np.ndarray:
    """Places (k,) near `ends`, in their order, `_LABEL_STEP` apart and within 0 to 1 where they fit."""
    order = np.argsort(ends, kind="stable")
    places = ends[order].copy()
    for _ in range(200):
        push = np.maximum(_LABEL_STEP - np.diff(places), 0.0) / 2
        places[:-1] -= push
        places[1:] += push
    if len(places):
        places += max(0.0, -places[0]) - max(0.0, places[-1] - 1.0)
    spaced = np.empty_like(places)
    spaced[order] = places
    return spaced
