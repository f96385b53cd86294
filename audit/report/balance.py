"""Head and tail: the data card as a section, with how often each concept is named before balancing and after."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from evenly.audit.card import read_card
from evenly.audit.published import PublishedBuild
from evenly.audit.report.plots.drawing import COLOURS, MARKERS, SERIES, drawn
from evenly.audit.report.plots.figures import rank_plot
from evenly.curation.balance.data_card import LARGEST


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
    for each. `weighted` estimates the matches in the whole pool, from pairs that a preselection let through, each
    counted by the inverse of its chance.
    """
    if build.step("balance") is None:
        return None
    card = read_card(build)
    last = card.balancings[-1]
    if not last.entries.num_rows:
        return None
    matches_before, matches_after, weighted = (np.asarray(last.entries[name].to_numpy(), dtype=np.float64) for name in
                               ("before", "after", "weighted"))  # fmt: skip
    threshold = float(last.languages[0]["t"]) if len(last.languages) == 1 else None
    return {
        "card": card,
        "concepts": last.concepts_before,
        "concepts_after": last.concepts_after,
        "head": last.head,
        "tail": last.tail,
        "t": threshold,
        "tail_before": last.tail_share_before,
        "tail_after": last.tail_share_after,
        "top_before": _share(matches_before, LARGEST),
        "top_after": _share(matches_after, LARGEST),
        "largest_before": float(matches_before.max()),
        "rows": last.largest,
        "weighted": bool(not np.allclose(weighted, matches_before)),
        "plot": rank_plot(matches_before, matches_after, weighted, threshold),
        "agreement": agreement_plot({balancing.step: balancing.agreement for balancing in card.balancings}),
    }


def _share(counts: np.ndarray, first: int) -> float:
    total = float(counts.sum())
    return float(counts[:first].sum()) / total if total else 0.0
