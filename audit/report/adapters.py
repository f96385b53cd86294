"""Adapters: accuracy on the test part with its interval, and whether the difference to zero-shot spans zero."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from audit.report.figures import interval_plot
from storage.ledger import Ledger, StepRecord

# The columns that have a place of their own in the section; all others follow in a table of further columns.
MAIN: tuple[str, ...] = ("name", "texts", "accuracy", "low", "high", "difference", "difference_low", "difference_high")
MAIN += ("verdict", "chosen", "validation_accuracy", "n")


def read_adapters(ledger: Ledger, records: Sequence[StepRecord]) -> list[dict[str, Any]]:
    """One section per evaluation: list, rows, best (by validation), extra (names of further columns), plot, notes."""
    return [
        _section(record, ledger.table(record, "results").to_pylist())
        for record in records
        if "results" in record.hashes
    ]


def _section(record: StepRecord, found: list[dict[str, Any]]) -> dict[str, Any]:
    rows = [{name: _plain(value) for name, value in row.items()} for row in found]
    baseline = next((row for row in rows if row.get("name") == "zero_shot"), None)  # the first: all are compared to it
    spans = [(_label(row), _spans_zero(row)) for row in rows if row is not baseline]
    rows.sort(key=lambda row: -(row.get("accuracy") or 0.0))
    best = max((row for row in rows if row.get("validation_accuracy") is not None), key=_validation, default=None)
    notes = record.notes.get("notes", [])
    return {
        "list": str(record.rule.get("list", "")),
        "rows": rows,
        "best": best,
        "n": next((row["n"] for row in rows if row.get("n") is not None), None),
        "groups": next((row["groups"] for row in rows if row.get("groups") is not None), None),
        "spans_zero": [label for label, holds in spans if holds is True],
        "excludes_zero": [label for label, holds in spans if holds is False],
        "extra": [name for name in (rows[0] if rows else ()) if name not in MAIN],
        "notes": notes if isinstance(notes, list) else [notes],
        "baseline": baseline,
        "plot": interval_plot([_label(row) for row in rows], rows, baseline) if rows else None,
    }


def _validation(row: Mapping[str, Any]) -> float:
    return float(row["validation_accuracy"])


def _label(row: Mapping[str, Any]) -> str:
    texts = row.get("texts")
    name = str(row.get("name")).replace("_", " ")
    return f"{name} ({texts})" if texts and texts != "none" else name


def _spans_zero(row: Mapping[str, Any]) -> bool | None:
    """Whether the interval of the difference holds zero; None where there is no interval."""
    low, high = row.get("difference_low"), row.get("difference_high")
    return None if low is None or high is None else bool(low <= 0 <= high)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell of any table
    return None if isinstance(value, float) and math.isnan(value) else value
