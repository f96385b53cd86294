"""Differences between two builds: the pairs that entered, left or read differently, by reason and by cause."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from evenly.audit.moves.causes import Causes
from evenly.audit.moves.comparison import ALTERED, Group, compare_builds
from evenly.audit.moves.metrics import Metric, compare_metrics
from evenly.audit.published import PublishedBuild, name_of
from evenly.audit.safe_text import as_html, visible
from evenly.storage.records import canonical_json
from evenly.storage.removal.forget import read_forgotten
from evenly.storage.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Change:
    """A group of pairs that moved for one reason.

    step and reason: where they are out, or what reads differently. cause: pool, data, rule, model, seed, code,
    forgotten, several of them joined by " and ", knock-on or unexplained; of a knock-on, `origin` is what it follows
    from. detail says it in words. count is of all; examples are the first by uid.
    """

    step: str
    reason: str
    cause: str
    origin: str
    detail: str
    count: int
    examples: Sequence[Mapping[str, Any]]

    @property
    def cause_title(self) -> str:
        """The cause, with what it follows from."""
        return f"{self.cause} of {self.origin}" if self.origin else self.cause


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference:
    """From build `before` to build `after`.

    `steps` has a row per step: kept before and after, and what differs. Pairs in both builds are `unchanged`, or are
    counted under each of `changed` that holds for them. `differs` names what of the builds themselves differs: recipe,
    seed, limit, encoder, split, forget. code: the versions of evenly that made them. metrics: results of models on
    both, where they were asked for.
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
    code: Mapping[str, str] = field(default_factory=dict)
    metrics: Sequence[Metric] = ()

    @property
    def causes(self) -> dict[str, int]:
        """Pairs that entered, left or changed, by cause."""
        counts: dict[str, int] = {}
        for change in (*self.entered, *self.left, *self.changed):
            counts[change.cause_title] = counts.get(change.cause_title, 0) + change.count
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
        if len(set(self.code.values())) > 1:
            yield f"made by    {' -> '.join(self.code.values())}"
        yield ""
        yield f"{'step':<24}{'kept before':>12}{'after':>12}  differs"
        for step in self.steps:
            yield _step_line(step)
        yield from _metric_lines(self.metrics)


def _total(changes: Sequence[Change]) -> int:
    return sum(change.count for change in changes)


def _change_lines(change: Change) -> Iterator[str]:
    step = f"{change.step} ({visible(change.reason)})"
    yield f"  {change.count:>8,}  {step:<44}  cause {change.cause_title}: {visible(change.detail)}"
    for pair in change.examples:
        yield f"            {pair['uid']}  {visible(name_of(pair))}  {visible(str(pair['caption']))}"
    hidden = change.count - len(change.examples)
    if hidden:
        yield f"            and {hidden:,} more"


def _metric_lines(metrics: Sequence[Metric]) -> Iterator[str]:
    """Lines per kind; a note that all of a kind have stands once, ahead of them."""
    for kind in dict.fromkeys(metric.kind for metric in metrics):
        of_kind = [metric for metric in metrics if metric.kind == kind]
        notes = {metric.note for metric in of_kind}
        is_shared = len(notes) == 1 and "" not in notes
        yield ""
        yield f"{kind}, with 95 % intervals{'; ' + of_kind[0].note if is_shared else ''}"
        for metric in of_kind:
            words = metric.to_text(with_note=not is_shared)
            yield f"  {visible(metric.subject)}, {visible(metric.name)}: {words}"


def _step_line(step: Mapping[str, Any]) -> str:
    kept_before, kept_after = (
        "" if step[name] is None else f"{step[name]:,}" for name in ("kept_before", "kept_after")
    )
    differs = "; ".join(f"{cause}: {visible(words)}" for cause, words in step["differs"].items())
    return f"{step['step']:<24}{kept_before:>12}{kept_after:>12}  {differs}".rstrip()


EXAMPLES = 10
_OF_A_BUILD = ("recipe", "seed", "limit", "encoder", "split", "forget")


def diff_builds(
    workspace: Workspace,
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    *,
    examples: int = EXAMPLES,
    with_metrics: bool = False,
) -> Difference:
    """Return what changed from build `a` to build `b`; counts are complete, `examples` uids are listed of each kind.

    A pair that is in one build and out of the other is counted under the step and reason by which it is out, and under
    its cause (audit/moves/causes.py).
    Builds are compared partition by partition, by the coarser cut of the two; what has equal digests is not read.
    """
    older, newer = PublishedBuild(workspace, a), PublishedBuild(workspace, b)
    causes = Causes(older, newer)
    groups = compare_builds(older, newer, causes, examples=examples)
    changes = {kind: _changes(groups, kind, older, newer) for kind in ("entered", "left", "changed")}
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
        steps=causes.steps.rows(),
        differs=[name for name in _OF_A_BUILD if _content(a, name) != _content(b, name)],
        code={side: _code(manifest) for side, manifest in (("before", a), ("after", b))},
        metrics=compare_metrics(older, newer) if with_metrics else [],
    )


def count_moves(workspace: Workspace, a: Mapping[str, Any], b: Mapping[str, Any]) -> Difference:
    """The result of `diff_builds` without examples; of the last two builds as counted, while the forget list stays.

    What a rebuild has counted for the journal, its report shows.
    """
    return _counted(workspace, canonical_json(a), canonical_json(b), read_forgotten(workspace).digest)


@lru_cache(maxsize=1)
def _counted(workspace: Workspace, a: str, b: str, _forgotten: str) -> Difference:
    return diff_builds(workspace, json.loads(a), json.loads(b), examples=0)


def _code(manifest: Mapping[str, Any]) -> str:
    """The version of evenly that made a build, with its commit."""
    code = manifest.get("code") or {}
    commit = f" ({code['git_sha'][:9]}{', changed' if code.get('dirty') else ''})" if code.get("git_sha") else ""
    return f"evenly {code.get('version') or 'unknown'}{commit}"


def _content(manifest: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a manifest under a name, but for the path of its split."""
    value = manifest.get(name)
    return value["sha256"] if name == "split" and value else value


def _changes(groups: Sequence[Group], kind: str, older: PublishedBuild, newer: PublishedBuild) -> list[Change]:
    """The groups of a kind with what is shown of their examples."""
    chosen = [group for group in groups if group.kind == kind]
    shown = (older if kind == "left" else newer).shown([uid for group in chosen for uid in group.uids])
    changes = []
    for group in chosen:
        cause, rows = group.cause, [shown[uid] for uid in group.uids]
        named = {"cause": cause.name, "origin": cause.origin, "detail": cause.detail}
        changes.append(Change(step=group.step, reason=group.reason, **named, count=group.count, examples=rows))
    return changes
