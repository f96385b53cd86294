"""Probes of a build in the report, and the worth of each step of its recipe to an encoder with its plot."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from evenly.adapters.evaluation.tables import plain_rows
from evenly.audit.report.plots.figures import COLOURS, drawn
from evenly.audit.safe_text import visible
from evenly.storage.ledger import Ledger, StepRecord

MEASURES = {
    "given_texts": "diversity given the captions",
    "by_texts": "diversity that captions explain",
    "unexplained": "share that captions leave open",
}


def read_probes(ledger: Ledger, records: Sequence[StepRecord]) -> dict[str, Any] | None:
    """`diversity` (about, rows of words, own, dealt), `retrieval` (about, rows), None without, and `robustness`.

    robustness: per class list its sources. `records` are of the steps `measure_diversity`, `measure_retrieval` and
    `corrupt_pictures`; None where they hold nothing to show.
    """
    diversity = [plain_rows(ledger.table(record, "diversity"))[0] for record in records if "diversity" in record.hashes]
    robustness = [_robustness(ledger, record) for record in records if "sources" in record.hashes]
    retrieval = [
        {"about": record.notes, "rows": plain_rows(ledger.table(record, "retrieval"))}
        for record in records
        if "retrieval" in record.hashes
    ]
    if not diversity and not robustness and not retrieval:
        return None
    return {
        "diversity": _diversity(diversity[-1]) if diversity else None,
        "retrieval": retrieval[-1] if retrieval else None,
        "robustness": robustness,
    }


def _diversity(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "about": row,
        "rows": [{"words": words, "own": row[name], "dealt": row[f"dealt_{name}"]} for name, words in MEASURES.items()],
    }


def _robustness(ledger: Ledger, record: StepRecord) -> dict[str, Any]:
    models = plain_rows(ledger.table(record, "sources"))
    full_share = {row["source"]: row for row in models if row["share"] == 1}
    return {
        "list": str(record.rule.get("list", "")),
        "models": len(models),
        "rows": [
            line | {"whole": full_share[line["source"]]}
            for line in plain_rows(ledger.table(record, "source_lines"))
            if line["source"] in full_share
        ],
    }


_SHOWN = ("text to picture R@10", "picture to text R@10", "zero-shot", "right caption before wrong")
_PANELS = ("text to picture R@10", "zero-shot")
_LONGEST = 44  # characters of a name
_COLUMNS = 2


def read_worth(ledger: Ledger, records: Sequence[StepRecord]) -> dict[str, Any]:
    """The last of `records`, which are of the step `measure_worth`.

    seeds, trained, skipped; `tables`: for all that is judged, columns (measure or kind, and n) and a line per variant
    with its cells; `plot`; `rows`: all there is.
    """
    record = records[-1]
    rows = plain_rows(ledger.table(record, "worth"))
    panels = [row for row in rows if row["measure"] in _PANELS]
    return {
        "seeds": record.rule["seeds"],
        "trained": record.notes["trained"],
        "skipped": record.notes["skipped"],
        "tables": _tables(rows),
        "plot": draw_worth(panels),
        "rows": rows,
    }


def _tables(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A table for each of what is judged by the measures of _SHOWN, and one of the kinds of wrong captions."""
    *measures, by_kind = _SHOWN
    judged = dict.fromkeys(row["of"] for row in rows if row["measure"] in measures)
    tables = [
        _table(name, [row for row in rows if row["of"] == name and row["measure"] in measures]) for name in judged
    ]
    wrong = [{**row, "measure": row["of"]} for row in rows if row["measure"] == by_kind]
    return [*tables, *([_table(by_kind, wrong)] if wrong else [])]


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        line = lines.setdefault(row["pairs"], {"pairs": row["pairs"], "available": row["available"], "cells": {}})
        line["cells"][row["measure"]] = row
    columns = {row["measure"]: row["n"] for row in rows}
    return {"title": title, "columns": columns, "lines": list(lines.values())}


def draw_worth(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """The difference of each variant to the first, with its 95 % interval; a panel for each measure and what it is of.

    `rows`: pairs (the variant's name), measure, of, difference, difference_low, difference_high.
    """
    first = rows[0]["pairs"] if rows else ""
    names = [name for name in dict.fromkeys(str(row["pairs"]) for row in rows) if name != first]
    panels: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        panels.setdefault((row["measure"], row["of"]), {})[str(row["pairs"])] = row
    size = (-(-len(panels) // _COLUMNS) or 1, _COLUMNS)
    with drawn(
        "Differences to the whole pipeline with 95 % intervals, by measure",
        width=8.6,
        height=size[0] * (0.9 + 0.24 * len(names)),
        panels=size,
    ) as (axes, done):
        for axis, ((measure, subject), lines) in zip(axes, panels.items(), strict=False):
            axis.set_title(visible(f"{measure}, {subject}")[:_LONGEST], fontsize=9, loc="left", color=COLOURS["ink"])
            axis.axvline(0, color=COLOURS["muted"], linewidth=1)
            axis.set_yticks(range(len(names)), [visible(name)[:_LONGEST] for name in names], fontsize=8.5)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.locator_params(axis="x", nbins=5)
            for place, name in enumerate(names):
                _draw_line(axis, place, lines.get(name))
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
    return done()


def _draw_line(axis: Any, place: int, row: Mapping[str, Any] | None) -> None:  # noqa: ANN401 - matplotlib's
    if row is None or row["difference"] is None:
        return
    low, high = row["difference_low"], row["difference_high"]
    is_sure = low is not None and (low > 0 or high < 0)
    colour = COLOURS["muted"] if not is_sure else COLOURS["kept" if row["difference"] > 0 else "dropped"]
    axis.plot([row["difference"]], [place], "o", color=colour, markersize=4.5)
    if low is not None:
        axis.plot([low, high], [place, place], color=colour, linewidth=1.6)
