"""Curves of a classifier: accuracy under corruptions of growing strength, and how well its confidence holds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from evenly.audit.report.plots.figures import (
    COLOURS,
    MARKERS,
    PANEL,
    SERIES,
    Line,
    draw_line,
    drawn,
    label_ends,
    limits,
    line_of,
)
from evenly.audit.safe_text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def corruption_plot(rows: Sequence[Mapping[str, Any]], *, clean: float | None = None, title: str = "") -> Markup:
    """Accuracy over strength, one line per corruption with its interval shaded, one panel per family.

    `rows`: corruption, strength, accuracy, low, high; where they have a `family` (noise, blur, ...) it makes the
    panels. `clean` is the accuracy on the untouched images: the dashed line.
    """
    panels = _panels(rows)
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    size = (-(-len(panels) // columns), columns)
    head = visible(title)
    with drawn(
        f"Accuracy over the strength of corruptions with 95 % intervals: {head}",
        width=max(5.2, PANEL[0] * columns),
        height=PANEL[1] * size[0] + 0.5,
        panels=size,
    ) as (axes, done):
        if head:
            axes[0].figure.suptitle(head, fontsize=10, x=0.01, ha="left")
        axes[0].figure.supxlabel("shaded: 95 % interval", fontsize=8.5, x=0.01, ha="left", color=COLOURS["muted"])
        low, high = limits(line for lines in panels.values() for line in lines.values())
        if clean is not None:
            low, high = min(low, clean - 0.02), max(high, clean + 0.02)
        axes[0].set_ylim(low, high)  # all panels share it
        for place, (panel, (family, lines)) in enumerate(zip(axes, panels.items(), strict=False)):
            _draw_panel(panel, lines, clean)
            panel.set_title(visible(family), fontsize=10, loc="left", color=COLOURS["ink"])
            panel.set_xlabel("strength" if place + columns >= len(panels) else "")
            panel.set_ylabel("accuracy" if place % columns == 0 else "")
        for panel in axes[len(panels) :]:
            panel.set_visible(False)
    return done()


def reliability_plot(series: Mapping[str, Sequence[Mapping[str, Any]]], *, title: str = "") -> Markup:
    """Accuracy over confidence per named series ("as fitted", "at temperature 0.4"); below, the rows of each bin.

    Rows of a series are bins: confidence (mean), accuracy, n. On the dashed diagonal confidence is what it says; a bin
    below it is overconfident, by the length of its line. The area of a point grows with its share of the rows.
    """
    head = visible(title)
    with drawn(
        f"Accuracy over confidence: {', '.join(series)} {head}", height=5.2, panels=(2, 1), share=False,
        height_ratios=(3.2, 1),
    ) as ((upper, lower), done):  # fmt: skip
        upper.plot([0, 1], [0, 1], color=COLOURS["muted"], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        for place, (name, rows) in enumerate(series.items()):
            bins = [row for row in rows if row["n"]]
            confidence, accuracy, n = (
                np.array([row[column] for row in bins], dtype=np.float64) for column in ("confidence", "accuracy", "n")
            )
            colour, marker = SERIES[place % len(SERIES)], MARKERS[place % len(MARKERS)]
            upper.vlines(confidence, confidence, accuracy, color=colour, linewidth=1.2, alpha=0.6, zorder=2)
            upper.scatter(confidence, accuracy, s=14 + 160 * n / max(n.sum(), 1), color=colour, marker=marker,
                          linewidths=0, zorder=3, label=visible(name)[:48])  # fmt: skip
            lower.vlines(confidence, 0, n, color=colour, linewidth=1.2, alpha=0.6)
            lower.plot(confidence, n, marker, color=colour, markersize=4)
        upper.set(ylabel="accuracy", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        upper.set_title(head, fontsize=10, loc="left", color=COLOURS["ink"])
        upper.tick_params(labelbottom=False)
        lower.set(xlabel="confidence", ylabel="rows", xlim=(-0.02, 1.02))
        lower.set_yscale("symlog", linthresh=1, linscale=0.4)
        most = max([1, *(row["n"] for rows in series.values() for row in rows)])
        ticks = [0, *(10**power for power in range(len(str(most))))]
        lower.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        lower.set_yticks([], minor=True)
        lower.set_ylim(0, 1.6 * most)
        if series:
            upper.legend(loc="upper left", fontsize=9, handlelength=1)
    return done()


def _panels(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Line]]:
    """The line of each corruption, by family in the order met; without families all in one."""
    members: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        family = members.setdefault(str(row.get("family") or ""), {})
        family.setdefault(str(row["corruption"]), []).append(row)
    panels = {
        family: {name: line_of(rows, "strength") for name, rows in corruptions.items()}
        for family, corruptions in members.items()
    }
    return panels or {"": {}}


def _draw_panel(panel: "Axes", lines: Mapping[str, Line], clean: float | None) -> None:
    labels = []
    for place, (name, line) in enumerate(lines.items()):
        if len(line.x):
            colour = draw_line(panel, line, place)
            labels.append((line, name.replace("_", " "), colour))
    strengths = sorted({float(value) for line in lines.values() for value in line.x})
    panel.set_xticks(strengths, [f"{value:g}" for value in strengths])
    if clean is not None:
        panel.axhline(clean, color=COLOURS["ink"], linewidth=1.3, linestyle=(0, (4, 3)))
        nowhere = np.full(1, np.nan)
        strength = np.full(1, strengths[-1] if strengths else 0.0)
        labels.append((Line(strength, np.full(1, clean), nowhere, nowhere), "clean", COLOURS["muted"]))
    label_ends(panel, labels)
