"""Head and tail: the data card as a section, with how often each concept is named before balancing and after."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from evenly.audit.card import read_card
from evenly.audit.published import PublishedBuild
from evenly.audit.report.plots.figures import COLOURS, MARKERS, SERIES, drawn, rank_plot, rank_rows
from evenly.curation.balance.data_card import LARGEST
from evenly.curation.balance.judgement import BALANCE


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


def read_balance(build: PublishedBuild) -> dict[str, Any] | None:
    """The section's facts, None where the build does not balance or nothing came so far.

    The tail are the concepts that balancing leaves alone (p = 1), the head those that it thins out; with thresholds by
    language, a concept counts in each language. Shares are of all matches: a pair that names several concepts counts
    for each. `moments` are before any draw, maybe after the preselection, and after balancing; what there was before a
    preselection is estimated from the pairs that it let through, each counted by the inverse of its chance.
    """
    if build.step(BALANCE.name) is None:
        return None
    card = read_card(build)
    last = card.balancings[-1]
    if not last.entries.num_rows:
        return None
    drawn_from, after, weighted, p = (
        np.asarray(last.entries[name].to_numpy(), dtype=np.float64) for name in ("before", "after", "weighted", "p")
    )
    threshold = float(last.languages[0]["t"]) if len(last.languages) == 1 else None
    preselected = not np.allclose(weighted, drawn_from)
    series = {"before any draw": weighted, "after the preselection": drawn_from, "kept": after}
    if not preselected:
        del series["after the preselection"]
    moments = [_moment(name, counts, p >= 1) for name, counts in series.items()]
    return {
        "card": card,
        "concepts": last.concepts_before,
        "concepts_after": last.concepts_after,
        "head": last.head,
        "tail": last.tail,
        "t": threshold,
        "moments": moments,
        "tail_before": moments[0]["tail"],
        "tail_after": moments[-1]["tail"],
        "most": float(weighted.max()),
        "rows": last.largest,
        "preselected": preselected,
        "plot": rank_plot(series, head=0 if threshold is None else last.head, threshold=threshold),
        "ranks": rank_rows(series),
        "agreement": agreement_plot({balancing.step: balancing.agreement for balancing in card.balancings}),
    }


def _moment(name: str, counts: np.ndarray, tail: np.ndarray) -> dict[str, Any]:
    """The shares of all matches that head, tail and the largest concepts hold."""
    total = float(counts.sum()) or 1.0
    return {
        "name": name,
        "head": float(counts[~tail].sum()) / total,
        "tail": float(counts[tail].sum()) / total,
        "largest": float(np.sort(counts)[::-1][:LARGEST].sum()) / total,
    }
