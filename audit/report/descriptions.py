"""Descriptions: what was accepted and rejected, and why, and three classes with each of their texts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from evenly.storage.ledger import Ledger, StepRecord

CLASSES_SHOWN = 3


def read_descriptions(ledger: Ledger, records: Sequence[StepRecord]) -> list[dict[str, Any]]:
    """One section per class list: list, model, classes, methods (counts, reasons), shown (classes with all texts)."""
    return [
        _section(record, ledger.table(record, "descriptions").to_pylist())
        for record in records
        if "descriptions" in record.hashes
    ]


def _section(record: StepRecord, rows: list[dict[str, Any]]) -> dict[str, Any]:
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
