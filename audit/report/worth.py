"""What each step of the recipe was worth to an encoder, in the report: the table of `evenly worth`, and its plot."""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.audit.report.adapter_tables import plain_rows
from evenly.audit.report.plots.worth import draw_worth
from evenly.storage.ledger import Ledger, StepRecord

_SHOWN = ("text to picture R@10", "picture to text R@10", "zero-shot", "right caption before wrong")
_PANELS = ("text to picture R@10", "zero-shot")


def read_worth(ledger: Ledger, records: Sequence[StepRecord]) -> dict[str, Any] | None:
    """The last of `records`, which are of the step `measure_worth`; None without one.

    seeds, trained, skipped; `tables`: for all that is judged, columns (measure or kind, and n) and a line per variant
    with its cells; `plot`; `rows`: all there is.
    """
    if not records:
        return None
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
    tables = [_table(of, [row for row in rows if row["of"] == of and row["measure"] in measures]) for of in judged]
    wrong = [{**row, "measure": row["of"]} for row in rows if row["measure"] == by_kind]
    return [*tables, *([_table(by_kind, wrong)] if wrong else [])]


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        line = lines.setdefault(row["pairs"], {"pairs": row["pairs"], "available": row["available"], "cells": {}})
        line["cells"][row["measure"]] = row
    columns = {row["measure"]: row["n"] for row in rows}
    return {"title": title, "columns": columns, "lines": list(lines.values())}
