"""Plots over the classes of a list: how often the pool's captions name each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from evenly.audit.report.plots.drawing import COLOURS, drawn
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
