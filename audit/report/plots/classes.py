"""Plots over the classes of a list: how often the pool's captions name each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from evenly.audit.report.plots.figures import COLOURS, drawn, standing_alone
from evenly.audit.safe_text import visible

MOST_NAMES = 40
"""Of more classes than these the axis has ranks instead of names."""


def frequency_plot(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """A stem per class, the most frequent first, tail classes in the other colour; 0 has a place on the axis.

    `rows`: class, captions, tail. The axis is logarithmic from 1 up.
    """
    ordered = sorted(rows, key=lambda row: (bool(row["tail"]), -row["captions"], str(row["class"])))
    counts = np.array([row["captions"] for row in ordered], dtype=np.float64)
    place = np.arange(len(ordered))
    tail = np.array([bool(row["tail"]) for row in ordered], dtype=np.bool_)
    named = len(ordered) <= MOST_NAMES
    with drawn("Captions of the pool that name each class", height=3.6 if named else 2.8) as ((axes,), done):
        size = 4.5 if named else 2.5
        for mask, colour, label in ((~tail, "kept", "head"), (tail, "dropped", "tail")):
            if mask.any():
                axes.vlines(place[mask], 0, counts[mask], color=COLOURS[colour], linewidth=size / 3)
                axes.plot(place[mask], counts[mask], "o", color=COLOURS[colour], markersize=size, label=label)
        axes.set_yscale("symlog", linthresh=1, linscale=0.4)
        top = max(float(counts.max(initial=1.0)), 1.0)
        ticks = [0.0, *(10.0**power for power in range(int(np.log10(top)) + 2))]
        axes.set_yticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axes.set_yticks([], minor=True)
        axes.set_ylim(-0.3, top * 1.6)
        axes.set(ylabel="captions")
        if named:
            axes.set_xticks(place, [visible(str(row["class"]))[:24] for row in ordered], rotation=90, fontsize=8)
            axes.tick_params(axis="x", length=0)
        else:
            axes.set_xlabel("rank of the class")
        axes.grid(visible=False, axis="x")
        axes.legend(loc="upper right")
    return done()


_NAMED = 40  # classes of which the names find room below the axis


def draw_concepts(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> str:
    """The text of an SVG file: a bar of captions per class, in the order given, and relevant_total with its interval.

    `rows`: class, actual_freq, relevant_total, total_low, total_high (null: not judged), tail. The axis is linear to 1
    and logarithmic above it, so that classes of no caption have their place; names of the tail have its colour.
    """
    head = visible(title)
    places = np.arange(len(rows))
    width = min(14.0, max(5.2, 0.22 * min(len(rows), _NAMED) + 2.0))
    with drawn(f"Captions that name each class: {head}", width=width, height=3.6) as ((axes,), done):
        counts = np.array([row["actual_freq"] for row in rows], dtype=np.float64)
        tail = np.array([row["tail"] for row in rows], dtype=np.bool_)
        for mask, colour, label in ((~tail, "kept", "head"), (tail, "dropped", "tail")):
            axes.bar(places[mask], counts[mask], color=COLOURS[colour], alpha=0.55, label=f"captions, {label}")
        judged = [place for place in range(len(rows)) if rows[place]["relevant_total"] is not None]
        if judged:
            totals, lows, highs = (
                np.array([rows[place][name] for place in judged], dtype=np.float64)
                for name in ("relevant_total", "total_low", "total_high")
            )
            axes.errorbar(
                judged,
                totals,
                yerr=[totals - lows, highs - totals],
                fmt="o",
                markersize=3,
                elinewidth=1,
                color=COLOURS["ink"],
                label="of these relevant, 95 % interval",
            )
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("captions")
        axes.set_title(head, fontsize=10, loc="left")
        axes.grid(visible=False, axis="x")
        if len(rows) <= _NAMED:
            axes.set_xticks(places, [visible(row["class"]) for row in rows], rotation=60, ha="right", fontsize=8)
            for written, rare in zip(axes.get_xticklabels(), tail, strict=True):
                written.set_color(COLOURS["dropped" if rare else "muted"])
        else:
            axes.set_xlabel("classes, the most frequent first")
        axes.legend(fontsize=8)
    return standing_alone(done())
