"""Causes for which a step decided otherwise in another build: the differences between its two runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evenly.audit.published import PublishedBuild
from evenly.storage.ledger import StepRecord
from evenly.storage.removal.forget import FORGOTTEN

_MOST_NAMED = 3  # inputs


@dataclass(frozen=True, kw_only=True)
class Cause:
    """name: data, rule, model, seed, code or forgotten, several joined by " and ", or upstream; detail: in words."""

    name: str
    detail: str


class Causes:
    """Compares the step runs of two builds, step by step."""

    def __init__(self, older: PublishedBuild, newer: PublishedBuild) -> None:
        self._order = list(dict.fromkeys(record.name for build in (older, newer) for record in build.records))
        self._a = {record.name: record for record in older.records}
        self._b = {record.name: record for record in newer.records}

    def of(self, step: str) -> Cause:
        """Differences at `step`, or else, as "upstream", at the steps that it builds on."""
        differences = self._differences(step)
        if differences:
            return Cause(name=" and ".join(differences), detail="; ".join(differences.values()))
        earlier = {name: self._differences(name) for name in self._upstream(step)}
        upstream_causes = [
            f"{name}: {'; '.join(differences.values())}" for name, differences in earlier.items() if differences
        ]
        detail = (
            ". ".join(upstream_causes) or "the steps before decided otherwise, with nothing recorded that explains it"
        )
        return Cause(name="upstream", detail=detail)

    def of_absence(self) -> Cause:
        """The cause of a pair that never arrived: the pool."""
        return Cause(name="data", detail="the pair is not in the pool of that build")

    def of_forgetting(self) -> Cause:
        """The cause of a pair that is on the forget list of that build."""
        return Cause(name=FORGOTTEN, detail="the pair is on the forget list")

    def steps(self) -> list[dict[str, Any]]:
        """Per step of either build: rows kept before and after (None where it did not run), and what differs."""
        return [
            {
                "step": name,
                "kept_before": _kept(self._a.get(name)),
                "kept_after": _kept(self._b.get(name)),
                "differs": self._differences(name),
            }
            for name in self._order
        ]

    def _upstream(self, step: str) -> list[str]:
        return self._order[: self._order.index(step)] if step in self._order else self._order

    def _differences(self, step: str) -> dict[str, str]:
        """Differences of two runs of a step, as cause -> words; {} where only their input differs."""
        a, b = self._a.get(step), self._b.get(step)
        if a is None or b is None:
            return {"rule": f"step switched {'on' if a is None else 'off'}"} if a is not b else {}
        differences = {}
        if a.version != b.version:
            differences["code"] = f"step version {a.version} -> {b.version}"
        if a.rule != b.rule:
            differences["rule"] = _describe_rule(a.rule, b.rule)
        if a.model != b.model:
            differences["model"] = f"{_short(a.model)} -> {_short(b.model)}"
        if a.seed != b.seed:
            differences["seed"] = f"{a.seed} -> {b.seed}"
        if a.inputs.get(FORGOTTEN) != b.inputs.get(FORGOTTEN):
            differences[FORGOTTEN] = "other forget list"
        was, now = self._own_inputs(a), self._own_inputs(b)
        if names := [name for name in dict.fromkeys((*was, *now)) if was.get(name) != now.get(name)]:
            more = "" if len(names) <= _MOST_NAMED else f" and {len(names) - _MOST_NAMED:,} more"
            differences["data"] = f"other {', '.join(names[:_MOST_NAMED])}{more} of {step}"
        return differences

    def _own_inputs(self, record: StepRecord) -> dict[str, str]:
        """Inputs of a step besides the steps before it and the forget list."""
        return {name: value for name, value in record.inputs.items() if name not in {*self._order, FORGOTTEN}}


def _describe_rule(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> str:
    """The fields of a rule that differ, nested ones by their dotted name."""
    parts = []
    for name in sorted({*a, *b}):
        old, new = a.get(name), b.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            parts.append(_describe_rule(old, new, f"{prefix}{name}."))
        else:
            parts.append(f"{prefix}{name} {_value(old)} -> {_value(new)}")
    return ", ".join(parts)


def _value(value: object) -> str:
    return "none" if value is None else str(value)


def _short(model: str | None) -> str:
    return "none" if model is None else model[:16]


def _kept(record: StepRecord | None) -> int | None:
    return None if record is None or not record.counts else record.counts.get("kept", 0)
