"""Lines with shaded intervals that are named beside their last point, so that no legend has to be looked up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from evenly.audit.report.plots.figures import COLOURS, MARKERS, SERIES
from evenly.audit.safe_text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    for (line, name, colour), place in zip(labels, _apart(ends), strict=True):
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


def _apart(ends: np.ndarray) -> np.ndarray:
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
