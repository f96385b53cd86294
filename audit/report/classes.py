"""Class lists in the report: what describing them gave, and adapters on them, compared to zero-shot in each measure."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from evenly.adapters.evaluation.tables import (
    ALL,
    by_adapter,
    ensembles_of,
    label_of,
    losses_in_words,
    notes_of,
    pairs_square,
    plain_rows,
    spans_zero,
    unseen_of,
)
from evenly.audit.report.plots.classes import frequency_plot
from evenly.audit.report.plots.curves import reliability_plot
from evenly.audit.report.plots.figures import interval_plot
from evenly.descriptions.described import digest_of
from evenly.storage.ledger import Ledger, StepRecord

Row = Mapping[str, Any]


def read_details(ledger: Ledger, record: StepRecord, rows: Sequence[Row], best: Row | None) -> dict[str, Any]:
    """Measures beside accuracies, None where there is no table.

    These are head_tail, confidence, unseen, open_set, ensembles and pairs.

    `rows` are the results, the best accuracy first.
    """
    return {
        "head_tail": _head_tail(_table(ledger, record, "head_tail"), _table(ledger, record, "frequencies")),
        "confidence": _confidence(_table(ledger, record, "reliability"), best, rows, str(record.rule.get("list", ""))),
        "unseen": _unseen(_table(ledger, record, "ood")),
        "open_set": _open_set(_table(ledger, record, "open_set"), str(record.rule.get("list", ""))),
        "ensembles": ensembles_of(_table(ledger, record, "ensembles")),
        "pairs": pairs_square(_table(ledger, record, "pairs"), rows),
    }


def _table(ledger: Ledger, record: StepRecord, name: str) -> list[dict[str, Any]]:
    return plain_rows(ledger.table(record, name)) if name in record.hashes else []


def _head_tail(rows: Sequence[Row], frequencies: Sequence[Row]) -> dict[str, Any] | None:
    adapters = by_adapter(rows)
    if not adapters:
        return None
    return {
        "rows": adapters,
        "labels": [label_of(row) for row in adapters],
        "sizes": adapters[0],
        "published": adapters[0]["head"]["rule"] == "published",
        "never": sum(row["captions"] == 0 for row in frequencies),
        "classes": len(frequencies),
        "plot": frequency_plot(frequencies) if frequencies else None,
    }


def _confidence(rows: Sequence[Row], best: Row | None, results: Sequence[Row], title: str) -> dict[str, Any] | None:
    """The reliability diagram of the adapter that validation chose; of zero-shot where it chose none."""
    is_chosen = best is not None
    best = best or next((row for row in results if row.get("name") == "zero_shot"), None)
    if best is None:
        return None
    series: dict[str, list[Row]] = {}
    for row in rows:
        if (row["name"], row["texts"]) == (best["name"], best["texts"]):
            fitted = row["state"] == "as fitted"
            series.setdefault("as fitted" if fitted else f"at temperature {best['temperature']:.3g}", []).append(row)
    if not series:
        return None
    plot = reliability_plot(series, title=f"{label_of(best)}, {title}")
    return {"plot": plot, "label": label_of(best), "best": best, "is_chosen": is_chosen}


def _unseen(rows: Sequence[Row]) -> dict[str, Any] | None:
    unseen = unseen_of(rows)
    if unseen is None:
        return None
    return {"found": unseen, "notes": notes_of(unseen)}


def _open_set(rows: Sequence[Row], title: str) -> dict[str, Any] | None:
    """Open-set accuracy of one adapter by each score at its threshold, on all sets of no class, with a plot of H."""
    scores = [row for row in rows if row["set"] == ALL]
    if not scores:
        return None
    points = [{"accuracy": row["h"], "low": row["h_low"], "high": row["h_high"]} for row in scores]
    labels = [f"{row['score'].replace('_', ' ')}{', chosen' if row['chosen'] else ''}" for row in scores]
    return {
        "rows": scores,
        "label": label_of(scores[0]),
        "plot": interval_plot(labels, points, None, measure=f"open-set H, {title}"),
    }


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
    spans = [(label_of(row), spans_zero(row)) for row in rows if row is not baseline]
    # of equal ones the first as evaluated, before test accuracy orders the rows: it must have no say
    measured = [row for row in rows if row.get("validation_accuracy") is not None]
    best = max(measured, key=itemgetter("validation_accuracy"), default=None)
    rows.sort(key=lambda row: -(row.get("accuracy") or 0.0))
    notes = record.notes.get("notes", [])
    return {
        "list": str(record.rule.get("list", "")),
        "rows": rows,
        "best": best,
        "best_label": None if best is None else label_of(best),
        "n": next((row["n"] for row in rows if row.get("n") is not None), None),
        "groups": next((row["groups"] for row in rows if row.get("groups") is not None), None),
        "spans_zero": [label for label, holds in spans if holds is True],
        "excludes_zero": [label for label, holds in spans if holds is False],
        "extra": [name for name in (rows[0] if rows else ()) if name not in MAIN],
        "notes": notes if isinstance(notes, list) else [notes],
        "baseline": baseline,
        "losses": losses_in_words(rows),
        "plot": interval_plot([label_of(row) for row in rows], rows, baseline) if rows else None,
        **read_details(ledger, record, rows, best),
    }


def read_descriptions(ledger: Ledger, records: Sequence[StepRecord]) -> list[dict[str, Any]]:
    """One section per class list: list, model, classes, methods (counts, reasons), shown (classes with all texts)."""
    return [
        {
            "list": str(record.rule.get("list", "")),
            "model": str(record.rule.get("model") or record.model or ""),
            **digest_of(ledger.table(record, "descriptions").to_pylist()),
        }
        for record in records
        if "descriptions" in record.hashes
    ]
