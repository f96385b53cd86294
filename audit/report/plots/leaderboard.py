"""Plots of a leaderboard: accuracy of adapters over shots by family; recall of encoders by direction."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from markupsafe import Markup

from evenly.audit.report.plots.figures import (
    COLOURS,
    PANEL,
    SERIES,
    Line,
    draw_line,
    drawn,
    label_ends,
    limits,
    line_of,
    standing_alone,
)
from evenly.audit.safe_text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from evenly.audit.report.plots.figures import MARKERS

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "texts only": ("vcd", "disclip", "fudd", "perceptionclip"),
    "Gaussian discriminants": ("gda", "gda_em", "gda_base_to_new", "gda_incremental"),
    "caches": ("tip", "tip_f", "tipx", "caps", "amu"),
    "linear heads": ("linear", "real_linear", "singular_scaling", "cooked"),
    "unlabelled images": ("fpl", "ifpl", "grip", "nola"),
}
OTHER = "further adapters"
BASELINE = "zero_shot"
NO_TEXTS = "none"

_COLUMNS = 3
_LEGEND = ("shaded or bar: 95 % interval", "shaded or bar: 95 % interval; grey: the adapters of the other panels")


def draw_leaderboard(summary: pd.DataFrame, *, title: str = "", texts: str | None = None) -> str:
    """The text of an SVG file of a leaderboard's summary; `texts` as in `leaderboard_plot`."""
    rows = [dict(zip(summary.columns, row, strict=True)) for row in summary.itertuples(index=False)]
    return standing_alone(leaderboard_plot(rows, title=title, texts=texts))


def leaderboard_plot(rows: Sequence[Mapping[str, Any]], *, title: str = "", texts: str | None = None) -> Markup:
    """Accuracy over shots (log2) per adapter, with its interval shaded; the other families' lines in grey behind it.

    `rows`: name, texts, shots, accuracy, low, high. One line per adapter: with `texts` (None: those of the first row),
    or without texts where it uses none. Zero-shot with these texts is the dashed line.
    """
    chosen = texts if texts is not None else next((str(row["texts"]) for row in rows), "")
    lines = _lines(rows, chosen)
    panels = [(family, names) for family, names in _families(list(lines)).items() if names] or [("", [])]
    columns = min(_COLUMNS, len(panels))
    size = (-(-len(panels) // columns), columns)
    head = visible(f"{title}, texts: {chosen}" if title else f"texts: {chosen}")
    with drawn(
        f"Accuracy over shots with 95 % intervals: {head}",
        width=max(5.2, PANEL[0] * columns),
        height=PANEL[1] * size[0] + 0.5,
        panels=size,
    ) as (axes, done):
        axes[0].figure.suptitle(head, fontsize=10, x=0.01, ha="left")
        axes[0].figure.supxlabel(_LEGEND[len(panels) > 1], fontsize=8.5, x=0.01, ha="left", color=COLOURS["muted"])
        axes[0].set_ylim(limits(lines.values()))  # all panels share it
        for place, (panel, (family, names)) in enumerate(zip(axes, panels, strict=False)):
            _draw_panel(panel, lines, names)
            panel.set_title(family, fontsize=10, loc="left", color=COLOURS["ink"])
            panel.set_xlabel("labelled images per class" if place + columns >= len(panels) else "")
            panel.set_ylabel("accuracy" if place % columns == 0 else "")
        for panel in axes[len(panels) :]:
            panel.set_visible(False)
    return done()


def _lines(rows: Sequence[Mapping[str, Any]], texts: str) -> dict[str, Line]:
    """The line of each adapter with these texts, or without texts, that has a point."""
    names = dict.fromkeys(str(row["name"]) for row in rows)
    of_texts = [row for row in rows if row["texts"] in {texts, NO_TEXTS}]
    lines = {name: line_of([row for row in of_texts if row["name"] == name], "shots") for name in names}
    return {name: line for name, line in lines.items() if len(line.x)}


def _families(names: Sequence[str]) -> dict[str, list[str]]:
    """The names by family, in the order of FAMILIES; unknown ones come last, as many to a panel as have a colour."""
    families = {family: [name for name in members if name in names] for family, members in FAMILIES.items()}
    members_of_any = {BASELINE, *(name for members in FAMILIES.values() for name in members)}
    remaining = [name for name in names if name not in members_of_any]
    for start in range(0, len(remaining), len(SERIES)):
        families[f"{OTHER} {start // len(SERIES) + 1}" if start else OTHER] = remaining[start : start + len(SERIES)]
    return families


def _draw_panel(panel: "Axes", lines: Mapping[str, Line], names: Sequence[str]) -> None:
    """One family in colour over all others in grey."""
    shots = sorted({float(value) for line in lines.values() for value in line.x})
    panel.set_xscale("log", base=2)
    panel.set_xticks(shots, [f"{value:g}" for value in shots])
    panel.minorticks_off()
    if len(shots) == 1:
        panel.set_xlim(shots[0] / 2, shots[0] * 1.1)
    for name, line in lines.items():
        if name not in {*names, BASELINE}:
            panel.plot(line.x, line.accuracy, color=COLOURS["muted"], linewidth=0.7, alpha=0.35, zorder=1)
    labels = []
    for place, name in enumerate(names):
        colour = draw_line(panel, lines[name], place)
        labels.append((lines[name], name.replace("_", " "), colour))
    if BASELINE in lines:
        line = lines[BASELINE]
        style: Any = {"color": COLOURS["ink"], "linewidth": 1.3, "linestyle": (0, (4, 3)), "zorder": 4}
        if len(line.x) > 1:
            panel.plot(line.x, line.accuracy, **style)
        else:
            panel.axhline(line.accuracy[0], **style)
        labels.append((line, "zero-shot", COLOURS["muted"]))
    label_ends(panel, labels)


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
