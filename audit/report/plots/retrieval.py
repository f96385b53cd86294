"""Encoders beside each other: R@1, R@5 and R@10 with their intervals, a panel for each direction."""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.audit.report.plots.figures import COLOURS, MARKERS, SERIES, drawn, standing_alone
from evenly.audit.safe_text import visible

TOPS = (1, 5, 10)
_LONGEST = 32  # characters of an encoder's name beside the plot


def draw_encoders(rows: Sequence[Mapping[str, Any]], *, title: str) -> str:
    """The text of an SVG file. `rows`: encoder, direction, r_at_1 with r_at_1_low and r_at_1_high, the same for 5, 10.

    An encoder without a number in a direction has no point there.
    """
    encoders = list(dict.fromkeys(str(row["encoder"]) for row in rows))
    directions = list(dict.fromkeys(str(row["direction"]) for row in rows))
    by_place = {(str(row["direction"]), str(row["encoder"])): row for row in rows}
    names = [visible(name) for name in encoders]
    with drawn(
        f"Recall of encoders with 95 % intervals: {visible(title)}",
        width=3.1 * len(directions) + 1.6,
        height=1.6 + 0.45 * len(encoders),
        panels=(1, len(directions)),
    ) as (axes, done):
        axes[0].figure.suptitle(visible(title), fontsize=10, x=0.01, ha="left")
        for panel, direction in zip(axes, directions, strict=True):
            panel.set_title(direction, fontsize=10, loc="left", color=COLOURS["ink"])
            panel.set_xlim(0, 1)
            panel.set_xlabel("recall; bar: 95 % interval")
            panel.set_yticks(range(len(encoders)), [name[:_LONGEST] for name in names])
            panel.set_ylim(len(encoders) - 0.5, -0.5)
            for place, top in enumerate(TOPS):
                for line, encoder in enumerate(encoders):
                    row = by_place.get((direction, encoder), {})
                    value, low, high = (row.get(f"r_at_{top}{end}") for end in ("", "_low", "_high"))
                    if value is None:
                        continue
                    height = line + (place - 1) * 0.2
                    label = f"R@{top}" if line == 0 else None
                    panel.plot([value], [height], MARKERS[place], color=SERIES[place], markersize=5, label=label)
                    if low is not None and high is not None:
                        panel.plot([low, high], [height, height], color=SERIES[place], linewidth=1.4)
        axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8.5)
    return standing_alone(done())
