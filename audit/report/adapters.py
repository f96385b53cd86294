"""Adapters: accuracy on the test part, whether the difference to zero-shot spans zero, and what else was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.audit.report.adapter_details import label, read_details
from evenly.audit.report.plain_rows import plain_rows
from evenly.audit.report.plots.figures import interval_plot
from evenly.storage.ledger import Ledger, StepRecord

# The columns that have a place of their own in the section; all others follow in a table of further columns.
MAIN: tuple[str, ...] = ("name", "texts", "accuracy", "low", "high", "difference", "difference_low", "difference_high")
MAIN += ("verdict", "chosen", "validation_accuracy", "n")


def read_adapters(ledger: Ledger, records: Sequence[StepRecord]) -> list[dict[str, Any]]:
    """One section per evaluation: list, rows, best (by validation), extra (names of further columns), plot, notes.

    And the parts of `read_details`.
    """
    return [_section(ledger, record) for record in records if "results" in record.hashes]


def _section(ledger: Ledger, record: StepRecord) -> dict[str, Any]:
    rows = plain_rows(ledger.table(record, "results"))
    baseline = next((row for row in rows if row.get("name") == "zero_shot"), None)  # the first: all are compared to it
    spans = [(label(row), _spans_zero(row)) for row in rows if row is not baseline]
    # of equal ones the first as evaluated, before test accuracy orders the rows: it must have no say
    best = max((row for row in rows if row.get("validation_accuracy") is not None), key=_validation, default=None)
    rows.sort(key=lambda row: -(row.get("accuracy") or 0.0))
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
        "plot": interval_plot([label(row) for row in rows], rows, baseline) if rows else None,
        **read_details(ledger, record, rows, best),
    }


def _validation(row: Mapping[str, Any]) -> float:
    return float(row["validation_accuracy"])


def _spans_zero(row: Mapping[str, Any]) -> bool | None:
    """Whether the interval of the difference holds zero; None where there is no interval."""
    low, high = row.get("difference_low"), row.get("difference_high")
    return None if low is None or high is None else bool(low <= 0 <= high)
