"""Differences between two builds: the pairs that entered, left or read differently, by reason and by cause."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evenly.audit.comparison import ALTERED, NOT_IN_POOL, Group, compare_builds
from evenly.audit.published import PublishedBuild, name_of
from evenly.audit.replay import whole_rule
from evenly.audit.safe_text import as_html, visible
from evenly.storage.ledger import StepRecord
from evenly.storage.removal.forget import FORGOTTEN
from evenly.storage.workspace import Workspace


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
            differences["rule"] = _describe_rule(whole_rule(a), whole_rule(b))
        if a.model != b.model:
            differences["model"] = f"{_short(a.model)} -> {_short(b.model)}"
        if a.seed != b.seed:
            differences["seed"] = f"{a.seed} -> {b.seed}"
        if a.inputs.get(FORGOTTEN) != b.inputs.get(FORGOTTEN):
            differences[FORGOTTEN] = "other forget list"
        old, new = self._own_inputs(a), self._own_inputs(b)
        if names := [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]:
            further = "" if len(names) <= _MOST_NAMED else f" and {len(names) - _MOST_NAMED:,} more"
            differences["data"] = f"other {', '.join(names[:_MOST_NAMED])}{further} of {step}"
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


@dataclass(frozen=True, kw_only=True)
class Change:
    """A group of pairs that moved for one reason.

    step and reason: where they are out, or what reads differently. cause: data, rule, model, seed, code, forgotten,
    several of them joined by " and ", or upstream; detail says it in words. count is of all; examples are the first by
    uid.
    """

    step: str
    reason: str
    cause: str
    detail: str
    count: int
    examples: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference:
    """From build `before` to build `after`.

    `steps` has a row per step: kept before and after, and what differs in version, rule, model, seed or data. Pairs in
    both builds are `unchanged`, or counted under each of `changed` that holds for them. `differs` names what of the
    builds themselves differs: recipe, seed, limit, encoder, split, forget.
    """

    before: str
    after: str
    kept_before: int
    kept_after: int
    unchanged: int
    entered: Sequence[Change]
    left: Sequence[Change]
    changed: Sequence[Change]
    steps: Sequence[Mapping[str, Any]]
    differs: Sequence[str] = ()

    @property
    def causes(self) -> dict[str, int]:
        """Pairs that entered, left or changed, by cause."""
        counts: dict[str, int] = {}
        for change in (*self.entered, *self.left, *self.changed):
            counts[change.cause] = counts.get(change.cause, 0) + change.count
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON-able values, with the counts by cause."""
        return asdict(self) | {"causes": self.causes}

    def to_text(self) -> str:
        """All of it as text for a terminal, where nothing that came from the web can act."""
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return as_html([(line, "")] for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{visible(self.before)} -> {visible(self.after)}"
        if self.before == self.after:
            yield "  both are the same build; `evenly builds` lists all"
        yield f"  kept {self.kept_before:,} -> {self.kept_after:,} ({self.kept_after - self.kept_before:+,})"
        for name, changes in (("entered", self.entered), ("left", self.left), ("changed", self.changed)):
            yield ""
            yield f"{name} {_total(changes):,}"
            for change in changes:
                yield from _change_lines(change)
        yield ""
        yield f"{'unchanged'} {self.unchanged:,}"
        if self.causes:
            yield "by cause   " + ", ".join(f"{name} {count:,}" for name, count in self.causes.items())
        if self.differs:
            yield "differs in " + ", ".join(self.differs)
        yield ""
        yield f"{'step':<24}{'kept before':>12}{'after':>12}  differs"
        for step in self.steps:
            yield _step_line(step)


def _total(changes: Sequence[Change]) -> int:
    return sum(change.count for change in changes)


def _change_lines(change: Change) -> Iterator[str]:
    step = f"{change.step} ({visible(change.reason)})"
    yield f"  {change.count:>8,}  {step:<44}  cause {change.cause}: {visible(change.detail)}"
    for pair in change.examples:
        yield f"            {pair['uid']}  {visible(name_of(pair))}  {visible(str(pair['caption']))}"
    hidden = change.count - len(change.examples)
    if hidden:
        yield f"            and {hidden:,} more"


def _step_line(step: Mapping[str, Any]) -> str:
    kept_before, kept_after = (
        "" if step[name] is None else f"{step[name]:,}" for name in ("kept_before", "kept_after")
    )
    differs = "; ".join(f"{cause}: {visible(words)}" for cause, words in step["differs"].items())
    return f"{step['step']:<24}{kept_before:>12}{kept_after:>12}  {differs}".rstrip()


EXAMPLES = 10
_OF_A_BUILD = ("recipe", "seed", "limit", "encoder", "split", "forget")


def diff_builds(
    workspace: Workspace, a: Mapping[str, Any], b: Mapping[str, Any], *, examples: int = EXAMPLES
) -> Difference:
    """Return what changed from build `a` to build `b`; counts are complete, `examples` uids are listed of each kind.

    A pair that is in one build and out of the other is counted under the step and reason by which it is out, and under
    the cause: what differs between that step's two runs, or, if nothing does, the earlier steps that do ("upstream").
    Builds are compared partition by partition, by the coarser cut of the two; what has equal digests is not read.
    """
    older, newer = PublishedBuild(workspace, a), PublishedBuild(workspace, b)
    causes = Causes(older, newer)
    groups = compare_builds(older, newer, examples=examples)
    changes = {kind: _changes(groups, kind, older, newer, causes) for kind in ("entered", "left", "changed")}
    kept_before, kept_after = (build.deciding[-1].counts["kept"] for build in (older, newer))
    return Difference(
        before=older.name,
        after=newer.name,
        kept_before=kept_before,
        kept_after=kept_after,
        unchanged=kept_before - _total(changes["left"]) - sum(group.count for group in groups if group.kind == ALTERED),
        entered=changes["entered"],
        left=changes["left"],
        changed=changes["changed"],
        steps=causes.steps(),
        differs=[name for name in _OF_A_BUILD if _content(a, name) != _content(b, name)],
    )


def _content(manifest: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a manifest under a name, but for the path of its split."""
    value = manifest.get(name)
    return value["sha256"] if name == "split" and value else value


def _changes(
    groups: Sequence[Group], kind: str, older: PublishedBuild, newer: PublishedBuild, causes: Causes
) -> list[Change]:
    """The groups of a kind with their causes and what is shown of their examples."""
    chosen = [group for group in groups if group.kind == kind]
    shown = (older if kind == "left" else newer).shown([uid for group in chosen for uid in group.uids])
    changes = []
    for group in chosen:
        plain = {NOT_IN_POOL: causes.of_absence, FORGOTTEN: causes.of_forgetting}.get(group.reason)
        cause = causes.of(group.step) if plain is None else plain()
        rows = [shown[uid] for uid in group.uids]
        named = {"step": group.step, "reason": group.reason, "cause": cause.name, "detail": cause.detail}
        changes.append(Change(**named, count=group.count, examples=rows))
    return changes


_MOST_NAMED = 3  # inputs
