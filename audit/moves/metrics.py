"""Results of two builds side by side, as they are stored: adapters, retrieval and worth. No model computes anything.

Adapters are compared on the test pictures that both builds judged them on: right or wrong picture by picture, groups
resampled whole. Of retrieval and worth no answers to single queries are stored: their intervals are shown side by side,
and are not paired.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.audit.published import PublishedBuild
from evenly.storage.builds import latest_made
from evenly.storage.ledger import Ledger, StepRecord

Row = Mapping[str, Any]
_OF_RETRIEVAL = {"r_at_1": "R@1", "r_at_10": "R@10", "auc": "AUC"}
NOT_STORED = "not paired: answers to single queries are not stored"
NOT_SHARED = "not paired: no test picture is in both"
ALONE = "in one build alone"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measure of both builds.

    kind: adapters, retrieval or worth. subject: the class list, the direction, or what is judged. name: of the adapter
    with its texts, or the variant. older, newer: value, low, high; None where the build has none. low and high are
    None where no interval is stored. difference: newer minus older with its interval, on `rows` test pictures of both;
    None where they are not paired, and `note` says why.
    """

    kind: str
    subject: str
    name: str
    measure: str
    older: Sequence[float | None] | None
    newer: Sequence[float | None] | None
    difference: Sequence[float | None] | None = None
    rows: int = 0
    note: str = ""

    def to_text(self, *, with_note: bool = True) -> str:
        """The measure in a line."""
        words = f"{self.measure} {_interval(self.older)} -> {_interval(self.newer)}"
        if self.difference is None:
            return f"{words}; {self.note}" if with_note else words
        return f"{words}; {_interval(self.difference, sign='+')} on {self.rows:,} pictures of both"


def _interval(values: Sequence[float | None] | None, sign: str = "") -> str:
    if values is None or values[0] is None:
        return "none"
    ends = "" if values[1] is None or values[2] is None else f" [{values[1]:{sign}.3f}, {values[2]:{sign}.3f}]"
    return f"{values[0]:{sign}.3f}{ends}"


def compare_metrics(older: PublishedBuild, newer: PublishedBuild) -> list[Metric]:
    """The results that either build has, of each kind in the order of the newer one's."""
    ledger = Ledger(newer.workspace)
    return [
        *_adapters(ledger, older, newer),
        *_of_tables(ledger, "retrieval", older.name, newer.name),
        *_of_tables(ledger, "worth", older.name, newer.name),
    ]


def _adapters(ledger: Ledger, older: PublishedBuild, newer: PublishedBuild) -> Iterator[Metric]:
    evaluations = [
        {record.rule["list"]: record for record in latest_made(ledger, "evaluate_adapters", build=build.name)}
        for build in (older, newer)
    ]
    for name in dict.fromkeys((*evaluations[1], *evaluations[0])):
        records = [of_build.get(name) for of_build in evaluations]
        results = [_results(ledger, record) for record in records]
        answers = [_answers(ledger, record) if record else {} for record in records]
        groups = _groups(ledger, records[1]) if records[1] else {}
        for adapter in dict.fromkeys((*results[1], *results[0])):
            results_of = [rows.get(adapter) for rows in results]
            facts: dict[str, Any] = {"difference": None, "note": ALONE}
            if all(results_of):
                right, right_after = (of_build.get(adapter, {}) for of_build in answers)
                facts = _compared(right, right_after, groups, seed=int(newer.manifest["seed"]))
            shown = " ".join(part for part in adapter if part != "none")
            yield Metric(
                kind="adapters",
                subject=name,
                name=shown,
                measure="accuracy",
                older=results_of[0],
                newer=results_of[1],
                **facts,
            )


def _results(ledger: Ledger, record: StepRecord | None) -> dict[tuple[str, str], list[float | None]]:
    rows = [] if record is None else ledger.table(record, "results").to_pylist()
    return {(row["name"], row["texts"]): [_number(row[name]) for name in ("accuracy", "low", "high")] for row in rows}


Answers = dict[tuple[str, str], bool]
"""Whether each test picture, by uid and class, was predicted right."""


def _answers(ledger: Ledger, record: StepRecord) -> dict[tuple[str, str], Answers]:
    """The answers of each adapter of an evaluation."""
    answers = dict[tuple[str, str], Answers]()
    for row in ledger.table(record, "predictions").to_pylist():
        of_adapter = answers.setdefault((row["name"], row["texts"]), {})
        of_adapter[row["uid"], row["class"]] = row["class"] == row["predicted"]
    return answers


def _compared(older: Answers, newer: Answers, groups: Mapping[str, str], *, seed: int) -> dict[str, Any]:
    """The difference on the pictures that both were judged on by one class."""
    common = [picture for picture in newer if picture in older]
    if not common:
        return {"difference": None, "note": NOT_SHARED}
    right = [[answers[picture] for picture in common] for answers in (older, newer)]
    ends = paired_bootstrap(right[0], right[1], seed=seed, groups=[groups[uid] for uid, _ in common])
    return {"difference": [_number(end) for end in ends], "rows": len(common)}


def _groups(ledger: Ledger, record: StepRecord) -> dict[str, str]:
    split = ledger.table(record, "split", ["uid", "group"])
    return dict(zip(split["uid"].to_pylist(), split["group"].to_pylist(), strict=True))


def _of_tables(ledger: Ledger, kind: str, older: str, newer: str) -> Iterator[Metric]:
    """The rows of retrieval, or of worth, of both builds."""
    read = _retrieval if kind == "retrieval" else _worth
    measures = [read(ledger, build) for build in (older, newer)]
    for key in dict.fromkeys((*measures[1], *measures[0])):
        subject, name, measure = key
        values = [of_build.get(key) for of_build in measures]
        note = ALONE if None in values else NOT_STORED
        yield Metric(
            kind=kind, subject=subject, name=name, measure=measure, older=values[0], newer=values[1], note=note
        )


Measures = dict[tuple[str, str, str], Sequence[float | None]]
"""Value, low and high by what is judged, a name and the measure."""


def _retrieval(ledger: Ledger, build: str) -> Measures:
    measures: Measures = {}
    for record in latest_made(ledger, "measure_retrieval", build=build):
        part = record.rule.get("part") or {}
        name = f"{part['list']} {part['part']}" if part else "kept pairs"
        for row in ledger.table(record, "retrieval").to_pylist():
            for field, title in _OF_RETRIEVAL.items():
                if row[field] is not None:
                    ends = [row[field], row[f"{field}_low"], row[f"{field}_high"]]
                    measures[row["direction"], name, title] = [_number(end) for end in ends]
    return measures


def _worth(ledger: Ledger, build: str) -> Measures:
    measures: Measures = {}
    for record in latest_made(ledger, "measure_worth", build=build):
        for row in ledger.table(record, "worth").to_pylist():
            measures[row["of"], row["pairs"], row["measure"]] = [_number(row["value"]), None, None]
    return measures


def _number(value: object) -> float | None:
    """A number; None for none, and for NaN."""
    number = None if value is None else float(value)  # type: ignore[arg-type]  # a cell
    return None if number is None or np.isnan(number) else number
