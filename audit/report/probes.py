"""Probes of a build in the report: diversity given the captions, and robustness per training source."""

from collections.abc import Mapping, Sequence
from typing import Any

from evenly.audit.report.adapter_tables import plain_rows
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
