"""What changed between two builds: which pairs entered, left or read differently, by reason and by cause."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.causes import Cause, Causes
from evenly.audit.difference import Change, Difference
from evenly.audit.published import PublishedBuild, sql_in
from evenly.storage.workspace import Workspace

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
    before, after = PublishedBuild(workspace, a), PublishedBuild(workspace, b)
    fates = _joined_fates(before, after)
    in_a, in_b = pc.equal(fates["step_a"], ""), pc.equal(fates["step_b"], "")
    causes = Causes(before, after)
    entered = _moves(fates.filter(pc.and_(pc.invert(in_a), in_b)), "a", causes, after, examples)
    left = _moves(fates.filter(pc.and_(in_a, pc.invert(in_b))), "b", causes, before, examples)
    both = fates.filter(pc.and_(in_a, in_b))["uid"].combine_chunks()
    changed, altered = _changes(before, after, both, causes, examples)
    return Difference(
        before=before.name,
        after=after.name,
        kept_before=pc.sum(in_a).as_py() or 0,
        kept_after=pc.sum(in_b).as_py() or 0,
        unchanged=len(both) - altered,
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


def _joined_fates(before: PublishedBuild, after: PublishedBuild) -> pa.Table:
    """Per uid of either build: step and reason where it ended in each; reason NOT_IN_POOL where it never arrived."""
    a, b = before.fates(), after.fates()
    uids = pa.concat_arrays([a["uid"].combine_chunks(), b["uid"].combine_chunks()]).unique().sort()
    columns: dict[str, pa.Array] = {"uid": uids}
    for side, build, fates in (("a", before, a), ("b", after, b)):
        at = pc.index_in(uids, fates["uid"])
        absent = uids.filter(pc.is_null(at))
        why = _why_absent(build, absent)
        reasons = pa.array([why.get(uid, NOT_IN_POOL) for uid in absent.to_pylist()], pa.string())
        missing = pc.is_null(at)
        step = pc.if_else(missing, build.deciding[0].name, fates["step"].combine_chunks().take(at))
        reason = pc.replace_with_mask(fates["reason"].combine_chunks().take(at), missing, reasons)
        columns |= {f"step_{side}": step, f"reason_{side}": reason}
    return pa.table(columns)


def _why_absent(build: PublishedBuild, uids: pa.Array) -> dict[str, str]:
    """The reason of those `uids` that arrived in the pool and yet became no pair, a limit for instance."""
    table = build.table(build.deciding[0].name, "arrivals", ["uid", "reason"]) if len(uids) else None
    if table is None:
        return {}
    found = table.filter(pc.is_in(table["uid"], uids))
    return dict(zip(found["uid"].to_pylist(), found["reason"].to_pylist(), strict=True))


def _moves(rows: pa.Table, out: str, causes: Causes, within: PublishedBuild, examples: int) -> list[Change]:
    """Group pairs by the step and reason that keep them out of build `out`, with the cause of each group."""
    groups = rows.group_by([f"step_{out}", f"reason_{out}"]).aggregate([("uid", "list")])
    changes = []
    for group in groups.to_pylist():
        step, reason, uids = group[f"step_{out}"], group[f"reason_{out}"], sorted(group["uid_list"])
        cause = causes.of_absence() if reason == NOT_IN_POOL else causes.of(step)
        changes.append(_change(step, reason, cause, uids, within=within, examples=examples))
    return sorted(changes, key=lambda change: (-change.count, change.step, change.reason))


def _changes(
    before: PublishedBuild, after: PublishedBuild, uids: pa.Array, causes: Causes, examples: int
) -> tuple[list[Change], int]:
    """The pairs in both builds whose picture or caption differs, and how many pairs differ in any of them."""
    changes, any_differs = [], pa.repeat(pa.scalar(False), len(uids))
    for kind, (column, steps) in CHANGING.items():
        differs = pc.invert(_same(_values(before, column, uids), _values(after, column, uids)))
        any_differs = pc.or_(any_differs, differs)
        altered = uids.filter(differs).to_pylist()
        if altered:
            step = next(name for name in (*steps, "collect") if before.step(name) or after.step(name))
            changes.append(_change(step, f"other_{kind}", causes.of(step), altered, within=after, examples=examples))
    return changes, pc.sum(any_differs).as_py() or 0


def _values(build: PublishedBuild, column: str, uids: pa.Array) -> pa.Array:
    """A column for `uids`; the caption is the chosen one where there is one."""
    names = ["uid", "chosen_caption", "caption"] if column == "caption" else ["uid", column]
    table = build.samples(names)
    held = [table[name].combine_chunks() for name in names[1:] if name in table.column_names]
    values = pc.coalesce(*held) if held else pa.nulls(table.num_rows, pa.string())
    return values.take(pc.index_in(uids, table["uid"]))


def _same(first: pa.Array, second: pa.Array) -> pa.BooleanArray:
    """Equal, where two nulls are."""
    both_null = pc.and_(pc.is_null(first), pc.is_null(second))
    return pc.or_(pc.fill_null(pc.equal(first, second), False), both_null)


def _change(
    step: str, reason: str, cause: Cause, uids: Sequence[str], *, within: PublishedBuild, examples: int
) -> Change:
    listed = list(uids[:examples])
    shown = within.samples(["uid", "url", "caption"], sql_in("uid", listed)).to_pylist()
    return Change(step=step, reason=reason, cause=cause.name, detail=cause.detail, count=len(uids), examples=shown)
