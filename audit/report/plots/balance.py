"""The plot that holds the draws against the chances that they were made by."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from evenly.audit.report.plots.drawing import COLOURS, MARKERS, SERIES, drawn


def agreement_plot(series: Mapping[str, Sequence[Mapping[str, Any]]]) -> Markup:
    """Share of pairs kept against their mean chance to stay, for each step's bins of chance; a line where both agree.

    Bars reach three standard deviations of the draws to both sides of what is expected.
    """
    with drawn(f"Share of pairs kept against their chance to stay: {', '.join(series)}", height=3.2) as ((axes,), done):
        axes.plot([0, 1], [0, 1], color=COLOURS["line"], linewidth=1.5, zorder=1)
        for number, (step, rows) in enumerate(series.items()):
            chances = [row["expected"] / row["pairs"] for row in rows]
            reach = [3 * row["spread"] / row["pairs"] for row in rows]
            shares = [row["kept"] / row["pairs"] for row in rows]
            axes.errorbar(chances, chances, yerr=reach, fmt="none", ecolor=COLOURS["muted"], elinewidth=1, capsize=2)
            axes.plot(chances, shares, MARKERS[number], color=SERIES[number], markersize=5, label=step)
        axes.set(xlabel="mean chance to stay", ylabel="share kept", xlim=(-0.02, 1.02), ylim=(-0.05, 1.05))
        axes.legend(loc="upper left")
    return done()
