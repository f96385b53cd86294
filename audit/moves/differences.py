"""Differences of two builds, step by step: in version, rule, model, seed, pool and what else a step reads."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from evenly.audit.published import PublishedBuild
from evenly.audit.replay import whole_rule
from evenly.curation.collecting import COLLECT
from evenly.keys import one_array, places_in
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.removal.forget import FORGOTTEN
from evenly.storage.tables.partitions import Partition

_OF_MODELS = {"model", "pretrained", "base_url", "prompt", "system", "template"}
"""Fields of rules that name a model, or the words that it is asked by."""
_MOST_NAMED = 3  # inputs


class StepDifferences:
    """Compares the runs of each step in two builds.

    order: the steps of either build, in order. older, newer: the runs of each build, by name.
    """

    def __init__(self, older: PublishedBuild, newer: PublishedBuild) -> None:
        self.order = list(dict.fromkeys(record.name for build in (older, newer) for record in build.records))
        self.older = {record.name: record for record in older.records}
        self.newer = {record.name: record for record in newer.records}

    def rows(self) -> list[dict[str, Any]]:
        """Per step of either build: rows kept before and after (None where it did not run), and what differs."""
        return [
            {
                "step": name,
                "kept_before": _kept(self.older.get(name)),
                "kept_after": _kept(self.newer.get(name)),
                "differs": self.by_cause(name),
            }
            for name in self.order
        ]

    def by_cause(self, step: str) -> dict[str, str]:
        """Differences of two runs of a step, as cause -> words; {} where only their input differs."""
        a, b = self.older.get(step), self.newer.get(step)
        if a is None or b is None:
            return {"rule": f"step switched {'on' if a is None else 'off'}"} if a is not b else {}
        differences = {}
        if a.version != b.version:
            differences["code"] = f"step version {a.version} -> {b.version}"
        if a.rule != b.rule:
            differences |= _rule_differences(whole_rule(a), whole_rule(b)) or {"rule": "written otherwise"}
        if a.model != b.model:
            named = [differences["model"]] if "model" in differences else []
            differences["model"] = ", ".join([*named, f"{_short(a.model)} -> {_short(b.model)}"])
        if a.seed != b.seed:
            differences["seed"] = f"{a.seed} -> {b.seed}"
        if a.inputs.get(FORGOTTEN) != b.inputs.get(FORGOTTEN):
            differences[FORGOTTEN] = "other forget list"
        old, new = self.own_inputs(a), self.own_inputs(b)
        if names := [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]:
            further = "" if len(names) <= _MOST_NAMED else f" and {len(names) - _MOST_NAMED:,} more"
            kind = "pool" if step == COLLECT.name else "data"
            differences[kind] = f"other {', '.join(names[:_MOST_NAMED])}{further} of {step}"
        return differences

    def own_inputs(self, record: StepRecord) -> dict[str, str]:
        """Inputs of a step besides the steps before it and the forget list."""
        return {name: value for name, value in record.inputs.items() if name not in {*self.order, FORGOTTEN}}


def _rule_differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a rule that differ, nested ones by their dotted name: those that name a model or a prompt apart."""
    words: dict[str, list[str]] = {}
    for path, old, new in _differing(a, b):
        cause = "model" if path.rpartition(".")[2] in _OF_MODELS else "rule"
        words.setdefault(cause, []).append(f"{path} {_value(old)} -> {_value(new)}")
    return {cause: ", ".join(words[cause]) for cause in ("rule", "model") if cause in words}


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*a, *b}):
        old, new, path = a.get(name), b.get(name), f"{prefix}{name}"
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            old, new = ({str(place): item for place, item in enumerate(items)} for items in (old, new))
            if not all(isinstance(item, Mapping) for item in (*old.values(), *new.values())):
                yield path, a.get(name), b.get(name)
                continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differing(old, new, f"{path}.")
        else:
            yield path, old, new


def _value(value: object) -> str:
    return "none" if value is None else str(value)


def _short(model: str | None) -> str:
    return "none" if model is None else model[:16]


def _kept(record: StepRecord | None) -> int | None:
    return None if record is None or not record.counts else record.counts.get("kept", 0)


def is_same(a: StepRecord, b: StepRecord, part: Partition) -> bool:
    """Whether two runs of a step decided the same of a partition."""
    if a.hashes["decisions"] == b.hashes["decisions"]:
        return True
    layout_a, layout_b = a.layout["decisions"], b.layout["decisions"]
    return layout_a.bits == layout_b.bits and all(
        layout_a.digest(number) == layout_b.digest(number) for number in part.numbers_at(layout_a.bits)
    )


class PairColumns:
    """Columns of the pairs of a partition, each read once."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.part = ledger, ledger.part
        self._tables = dict[tuple[str, str, tuple[str, ...]], pa.Table]()

    def read(self, record: StepRecord, name: str, uids: pa.Array) -> pa.Array:
        """The values that a step gave to pairs (n,)."""
        values = one_array(self.table(record, "decisions", name)[name])
        return values.take(places_in(uids, self.judged(record)))

    def judged(self, record: StepRecord) -> pa.Array:
        """The uids that a step judged."""
        return one_array(self.table(record, "decisions", "uid")["uid"])

    def table(self, record: StepRecord, name: str, *columns: str) -> pa.Table:
        """Columns of a step's table."""
        key = (record.key, name, columns)
        if key not in self._tables:
            self._tables[key] = self.ledger.table(record, name, columns)
        return self._tables[key]
