"""Differences between two builds: the pairs that entered, left or read differently, by reason and by cause."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.causes import Cause, Causes
from evenly.audit.html_text import as_html
from evenly.audit.published import PublishedBuild, sql_in
from evenly.audit.safe_text import visible
from evenly.storage.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Change:
    """A group of pairs that moved for one reason.

    step and reason: where they are out, or what reads differently. cause: data, rule, model, seed, code, several of
    them joined by " and ", or upstream; detail says it in words. count is of all; examples are the first by uid.
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
        yield f"            {pair['uid']}  {visible(str(pair['url']))}  {visible(str(pair['caption']))}"
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
NOT_IN_POOL = "not_in_pool"
_OF_A_BUILD = ("recipe", "seed", "limit", "encoder", "split", "forget")
# What makes a kept pair read differently: column -> steps that may give it, the last first.
CHANGING = {"image": ("image_id", ("download",)), "caption": ("caption", ("recaption", "collect"))}


def diff_builds(
    workspace: Workspace, a: Mapping[str, Any], b: Mapping[str, Any], *, examples: int = EXAMPLES
) -> Difference:
    """Return what changed from build `a` to build `b`; counts are complete, `examples` uids are listed of each kind.

    A pair that is in one build and out of the other is counted under the step and reason by which it is out, and under
    the cause: what differs between that step's two runs, or, if nothing does, the earlier steps that do ("upstream").
    """
    older, newer = PublishedBuild(workspace, a), PublishedBuild(workspace, b)
    outcomes = _joined_outcomes(older, newer)
    in_a, in_b = pc.equal(outcomes["step_a"], ""), pc.equal(outcomes["step_b"], "")
    causes = Causes(older, newer)
    entered = _moves(outcomes.filter(pc.and_(pc.invert(in_a), in_b)), "a", causes, newer, examples)
    left = _moves(outcomes.filter(pc.and_(in_a, pc.invert(in_b))), "b", causes, older, examples)
    in_both = outcomes.filter(pc.and_(in_a, in_b))["uid"].combine_chunks()
    changed, altered = _changes(older, newer, in_both, causes, examples)
    return Difference(
        before=older.name,
        after=newer.name,
        kept_before=pc.sum(in_a).as_py() or 0,
        kept_after=pc.sum(in_b).as_py() or 0,
        unchanged=len(in_both) - altered,
        entered=entered,
        left=left,
        changed=changed,
        steps=causes.steps(),
        differs=[name for name in _OF_A_BUILD if _content(a, name) != _content(b, name)],
    )


def _content(manifest: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON value
    """What a manifest says under a name, but for the path of its split."""
    value = manifest.get(name)
    return value["sha256"] if name == "split" and value else value


def _joined_outcomes(older: PublishedBuild, newer: PublishedBuild) -> pa.Table:
    """Per uid of either build: step and reason where it ended in each; reason NOT_IN_POOL where it never arrived."""
    a, b = older.outcomes(), newer.outcomes()
    uids = pa.concat_arrays([a["uid"].combine_chunks(), b["uid"].combine_chunks()]).unique().sort()
    columns: dict[str, pa.Array] = {"uid": uids}
    for side, build, outcomes in (("a", older, a), ("b", newer, b)):
        places = pc.index_in(uids, outcomes["uid"])
        absent = uids.filter(pc.is_null(places))
        absent_reasons = _why_absent(build, absent)
        reasons = pa.array([absent_reasons.get(uid, NOT_IN_POOL) for uid in absent.to_pylist()], pa.string())
        missing = pc.is_null(places)
        step = pc.if_else(missing, build.deciding[0].name, outcomes["step"].combine_chunks().take(places))
        reason = pc.replace_with_mask(outcomes["reason"].combine_chunks().take(places), missing, reasons)
        columns |= {f"step_{side}": step, f"reason_{side}": reason}
    return pa.table(columns)


def _why_absent(build: PublishedBuild, uids: pa.Array) -> dict[str, str]:
    """The reason of those `uids` that arrived in the pool and yet became no pair, a limit for instance."""
    table = build.table(build.deciding[0].name, "arrivals", ["uid", "reason"]) if len(uids) else None
    if table is None:
        return {}
    rows = table.filter(pc.is_in(table["uid"], uids))
    return dict(zip(rows["uid"].to_pylist(), rows["reason"].to_pylist(), strict=True))


def _moves(rows: pa.Table, out: str, causes: Causes, build: PublishedBuild, examples: int) -> list[Change]:
    """Group pairs by the step and reason that keep them out of build `out`, with the cause of each group."""
    groups = rows.group_by([f"step_{out}", f"reason_{out}"]).aggregate([("uid", "list")])
    changes = []
    for group in groups.to_pylist():
        step, reason, uids = group[f"step_{out}"], group[f"reason_{out}"], sorted(group["uid_list"])
        cause = causes.of_absence() if reason == NOT_IN_POOL else causes.of(step)
        changes.append(_change(step, reason, cause, uids, build=build, examples=examples))
    return sorted(changes, key=lambda change: (-change.count, change.step, change.reason))


def _changes(
    older: PublishedBuild, newer: PublishedBuild, uids: pa.Array, causes: Causes, examples: int
) -> tuple[list[Change], int]:
    """The pairs in both builds whose picture or caption differs, and how many pairs differ in any of them."""
    changes, any_differs = [], pa.repeat(pa.scalar(False), len(uids))
    for kind, (column, steps) in CHANGING.items():
        differs = pc.invert(_same(_values(older, column, uids), _values(newer, column, uids)))
        any_differs = pc.or_(any_differs, differs)
        altered = uids.filter(differs).to_pylist()
        if altered:
            step = next(name for name in (*steps, "collect") if older.step(name) or newer.step(name))
            changes.append(_change(step, f"other_{kind}", causes.of(step), altered, build=newer, examples=examples))
    return changes, pc.sum(any_differs).as_py() or 0


def _values(build: PublishedBuild, column: str, uids: pa.Array) -> pa.Array:
    """A column for `uids`; the caption is the chosen one where there is one."""
    names = ["uid", "chosen_caption", "caption"] if column == "caption" else ["uid", column]
    table = build.samples(names)
    columns = [table[name].combine_chunks() for name in names[1:] if name in table.column_names]
    values = pc.coalesce(*columns) if columns else pa.nulls(table.num_rows, pa.string())
    return values.take(pc.index_in(uids, table["uid"]))


def _same(first: pa.Array, second: pa.Array) -> pa.BooleanArray:
    """Equal, where two nulls are."""
    both_null = pc.and_(pc.is_null(first), pc.is_null(second))
    return pc.or_(pc.fill_null(pc.equal(first, second), False), both_null)


def _change(
    step: str, reason: str, cause: Cause, uids: Sequence[str], *, build: PublishedBuild, examples: int
) -> Change:
    listed = list(uids[:examples])
    shown = build.samples(["uid", "url", "caption"], sql_in("uid", listed)).to_pylist()
    return Change(step=step, reason=reason, cause=cause.name, detail=cause.detail, count=len(uids), examples=shown)
