"""Class lists in the report: what describing them gave, and adapters on them, compared to zero-shot in each measure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from evenly.adapters.evaluation.tables import by_adapter, ensembles_of, notes_of, plain_rows, unseen_of
from evenly.audit.report.plots.classes import frequency_plot
from evenly.audit.report.plots.curves import reliability_plot
from evenly.audit.report.plots.figures import interval_plot
from evenly.storage.ledger import Ledger, StepRecord

Row = Mapping[str, Any]

ALPHA = 0.05
MOST_PAIRED = 24
"""Adapters in the square of pairs."""


def read_details(ledger: Ledger, record: StepRecord, rows: Sequence[Row], best: Row | None) -> dict[str, Any]:
    """Measures beside accuracies: head_tail, confidence, unseen, ensembles and pairs, None where there is no table.

    `rows` are the results, the best accuracy first.
    """
    return {
        "head_tail": _head_tail(_table(ledger, record, "head_tail"), _table(ledger, record, "frequencies")),
        "confidence": _confidence(_table(ledger, record, "reliability"), best, str(record.rule.get("list", ""))),
        "unseen": _unseen(_table(ledger, record, "ood")),
        "ensembles": ensembles_of(_table(ledger, record, "ensembles")),
        "pairs": _pairs(_table(ledger, record, "pairs"), rows),
    }


def label(row: Row) -> str:
    """An adapter with its texts, in words."""
    texts = row.get("texts")
    name = str(row.get("name")).replace("_", " ")
    return f"{name} ({texts})" if texts and texts != "none" else name


def _table(ledger: Ledger, record: StepRecord, name: str) -> list[dict[str, Any]]:
    return plain_rows(ledger.table(record, name)) if name in record.hashes else []


def _head_tail(rows: Sequence[Row], frequencies: Sequence[Row]) -> dict[str, Any] | None:
    adapters = by_adapter(rows)
    if not adapters:
        return None
    return {
        "rows": adapters,
        "labels": [label(row) for row in adapters],
        "sizes": adapters[0],
        "published": adapters[0]["head"]["rule"] == "published",
        "never": sum(row["captions"] == 0 for row in frequencies),
        "classes": len(frequencies),
        "plot": frequency_plot(frequencies) if frequencies else None,
    }


def _confidence(rows: Sequence[Row], best: Row | None, title: str) -> dict[str, Any] | None:
    """The reliability diagram of the adapter that validation chose."""
    if best is None:
        return None
    series: dict[str, list[Row]] = {}
    for row in rows:
        if (row["name"], row["texts"]) == (best["name"], best["texts"]):
            fitted = row["state"] == "as fitted"
            series.setdefault("as fitted" if fitted else f"at temperature {best['temperature']:.3g}", []).append(row)
    if not series:
        return None
    return {"plot": reliability_plot(series, title=f"{label(best)}, {title}"), "label": label(best), "best": best}


def _unseen(rows: Sequence[Row]) -> dict[str, Any] | None:
    unseen = unseen_of(rows)
    if unseen is None:
        return None
    return {"found": unseen, "label": label(vars(unseen)), "notes": notes_of(unseen)}


def _pairs(rows: Sequence[Row], results: Sequence[Row]) -> dict[str, Any] | None:
    """A square of differences, row minus column, of the most accurate adapters."""
    shown = results[:MOST_PAIRED]
    names = [f"{row['name']} {row['texts']}" for row in shown]
    by_pair = {(row["a"], row["b"]): (row, -1.0) for row in rows} | {(row["b"], row["a"]): (row, 1.0) for row in rows}
    if not rows or not all((a, b) in by_pair for a in names for b in names if a != b):
        return None
    return {
        "labels": [label(row) for row in shown],
        "cells": [[_cell(*by_pair[a, b]) if a != b else None for b in names] for a in names],
        "left_out": len(results) - len(shown),
        "significant": sum(row["p_holm"] < ALPHA for row in rows),
        "all": len(rows),
        "n": rows[0]["n"],
        "groups": rows[0]["groups"],
    }


def _cell(row: Row, sign: float) -> dict[str, Any]:
    """The difference to the other adapter, its interval, and whether it is told apart."""
    ends = [None if row[end] is None else sign * row[end] + 0.0 for end in ("low", "high")]  # + 0.0: no minus zero
    low, high = ends if sign > 0 else ends[::-1]
    return {"difference": sign * row["difference"] + 0.0, "low": low, "high": high, "differs": row["p_holm"] < ALPHA}


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
    measured = [row for row in rows if row.get("validation_accuracy") is not None]
    best = max(measured, key=itemgetter("validation_accuracy"), default=None)
    rows.sort(key=lambda row: -(row.get("accuracy") or 0.0))
    notes = record.notes.get("notes", [])
    return {
        "list": str(record.rule.get("list", "")),
        "rows": rows,
        "best": best,
        "best_label": None if best is None else label(best),
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


def _spans_zero(row: Mapping[str, Any]) -> bool | None:
    """Whether the interval of the difference holds zero; None where there is no interval."""
    low, high = row.get("difference_low"), row.get("difference_high")
    return None if low is None or high is None else bool(low <= 0 <= high)


CLASSES_SHOWN = 3


def read_descriptions(ledger: Ledger, records: Sequence[StepRecord]) -> list[dict[str, Any]]:
    """One section per class list: list, model, classes, methods (counts, reasons), shown (classes with all texts)."""
    return [
        _described(record, ledger.table(record, "descriptions").to_pylist())
        for record in records
        if "descriptions" in record.hashes
    ]


def _described(record: StepRecord, rows: list[dict[str, Any]]) -> dict[str, Any]:
    classes = list(dict.fromkeys(str(row["class"]) for row in rows))
    return {
        "list": str(record.rule.get("list", "")),
        "model": str(record.rule.get("model") or record.model or ""),
        "classes": len(classes),
        "methods": [_method(name, rows) for name in dict.fromkeys(row["method"] for row in rows)],
        "shown": [_class(name, rows) for name in _choose(classes, rows)],
    }


def _method(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [row for row in rows if row["method"] == name]
    reasons = Counter((row["verdict"], row["reason"] or "") for row in mine if row["verdict"] != "accepted")
    return {
        "method": name,
        "accepted": sum(row["verdict"] == "accepted" for row in mine),
        "others": sum(reasons.values()),
        "reasons": [(f"{verdict}: {reason}", count) for (verdict, reason), count in reasons.most_common()],
    }


def _choose(classes: list[str], rows: list[dict[str, Any]]) -> list[str]:
    """The first, middle and last class of those that show something of both: texts accepted and texts rejected."""
    verdicts: dict[str, set[bool]] = {name: set() for name in classes}
    for row in rows:
        verdicts[str(row["class"])].add(row["verdict"] == "accepted")
    telling = [name for name in classes if len(verdicts[name]) == 2] or classes
    places = (
        {round(step * (len(telling) - 1) / (CLASSES_SHOWN - 1)) for step in range(CLASSES_SHOWN)} if telling else ()
    )
    return [telling[place] for place in sorted(places)]


def _class(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    mine = [row for row in rows if row["class"] == name]
    methods = dict.fromkeys(row["method"] for row in mine)
    accepted = sum(row["verdict"] == "accepted" for row in mine)
    return {
        "class": name,
        "accepted": accepted,
        "others": len(mine) - accepted,
        "methods": {method: _different(row for row in mine if row["method"] == method) for method in methods},
    }


def _different(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each text with its fate once: how many `times`, and all that it is said of besides the class (`others`)."""
    texts: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        texts.setdefault((row["text"], row["verdict"], row["reason"] or ""), []).append(row)
    return [
        {
            "text": text,
            "verdict": verdict,
            "reason": reason,
            "request_id": equal[0].get("request_id"),
            "times": len(equal),
            "others": list(dict.fromkeys(str(row["other"]) for row in equal if row.get("other"))),
            "is_difference": equal[0]["method"] == "differential",
        }
        for (text, verdict, reason), equal in texts.items()
    ]
