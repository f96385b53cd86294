"""A build by other rules, as a page: pairs that enter, leave and are unknown, and a curve over a field."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from evenly.audit.published import ReadBytes
from evenly.audit.report.gallery import read_thumbnails
from evenly.audit.report.page import page_environment
from evenly.audit.report.plots.figures import COLOURS, SERIES, drawn
from evenly.audit.supposed import WhatIf
from evenly.curation.supposed import ENTER, MOVES
from evenly.storage.samples import sql_in

_COLUMNS = ("uid", "url", "file_name", "source_id", "caption", "image_id")
_TITLES = {ENTER: "Enter", "leave": "Leave", "unknown": "Unknown"}


def what_if_page(supposed: WhatIf, read_bytes: ReadBytes, *, field: str, curve: Sequence[Mapping[str, Any]]) -> str:
    """One HTML page that loads nothing: every text is escaped, every picture shrunk and encoded anew.

    curve: rows of pairs kept and tail share by the values of a `field`; none without one.
    """
    rows = {move: supposed.examples(move) for move in MOVES}
    uids = sorted({row["uid"] for examples in rows.values() for row in examples})
    pairs = (
        {row["uid"]: row for row in supposed.published.samples(_COLUMNS, sql_in("uid", uids)).to_pylist()}
        if uids
        else {}
    )
    images = read_thumbnails(read_bytes, (pair["image_id"] for pair in pairs.values() if pair.get("image_id")))
    groups = []
    for move, examples in rows.items():
        side = "before" if move == ENTER else "after"
        cards = [
            dict.fromkeys(_COLUMNS)
            | pairs.get(row["uid"], {})
            | {"uid": row["uid"], "verdict": "dropped", "step": row[f"{side}_step"], "reason": row[f"{side}_reason"]}
            for row in examples
        ]
        for card in cards:
            card["image"] = images.get(card["image_id"] or "")
        counts = supposed.moves(move)
        groups.append({"title": _TITLES[move], "counts": counts, "cards": cards})
    plot = curve_plot(field, curve) if curve else None
    template = page_environment().get_template("what_if.html.j2")
    return template.render(facts=supposed.to_dict(), groups=groups, field=field, plot=plot)


def curve_plot(field: str, rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Pairs kept over the values of a field, and the tail's share of their matches where the build balances.

    Where unknown pairs leave it open how many are kept, bars reach from the fewest to the most, if that is bounded.
    """
    has_tail = any(row["tail_share"] is not None for row in rows)
    text = f"Pairs kept{' and share of the tail' if has_tail else ''} by {field}"
    values = [row["value"] for row in rows]
    with drawn(text, panels=(1, 1 + has_tail), share=False) as (axes, done):
        kept = [row["kept"] for row in rows]
        bounded = [row for row in rows if row["least"] is not None and row["most"] > row["least"]]
        for row in bounded:
            axes[0].plot([row["value"]] * 2, [row["least"], row["most"]], color=COLOURS["muted"], linewidth=1.5)
        axes[0].plot(values, kept, "o-", color=SERIES[0], markersize=4)
        axes[0].set(xlabel=field, ylabel="pairs kept", ylim=(0, None))
        if has_tail:
            axes[1].plot(values, [row["tail_share"] for row in rows], "s-", color=SERIES[1], markersize=4)
            axes[1].set(xlabel=field, ylabel="share of the tail", ylim=(0, None))
    return done()
