"""Two builds compared pair by pair, a partition at a time: groups of pairs that entered, left or read differently."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.moves.causes import NOT_IN_POOL, OTHER, Cause, Causes
from evenly.audit.moves.differences import PairColumns, is_same
from evenly.audit.published import PublishedBuild
from evenly.curation.arrays import Flags, Ints
from evenly.keys import one_array, places_in, rows_with
from evenly.storage.ledger import Ledger, StepRecord
from evenly.storage.removal.forget import FORGOTTEN
from evenly.storage.tables.partitions import Partition

ALTERED: Literal["altered"] = "altered"
# What makes a kept pair read differently: columns, the first that is not null counts; steps that may give it.
CHANGING = {
    "image": (("image_id",), ("download",)),
    "caption": (("chosen_caption", "caption"), ("recaption", "collect")),
}
_AT_ONCE = 4  # partitions in memory
_NO_CAUSE = Cause(name="", detail="")

Kind = Literal["entered", "left", "changed", "altered"]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pairs that moved in one way, by one cause.

    step and reason: by which they are out, or what reads differently. uids: the first of them. Of kind ALTERED is one
    group, of all pairs that read differently in anything.
    """

    kind: Kind
    step: str
    reason: str
    cause: Cause
    count: int
    uids: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Endings:
    """Where pairs (n,) ended: 0 for those of the build, else 1 and the number of the step, with the reason's number."""

    uids: pa.Array
    steps: Ints
    reasons: Ints


class Reasons:
    """Reasons by number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {"": 0}

    def number(self, reason: str) -> int:
        """The number of a reason."""
        return self._numbers.setdefault(reason, len(self._numbers))

    def numbers(self, reasons: pa.ChunkedArray) -> Ints:
        """The numbers (n,) of reasons."""
        encoded = one_array(reasons).dictionary_encode()
        table = [self.number(str(reason)) for reason in encoded.dictionary.to_pylist()]
        return np.array(table, np.int64)[encoded.indices.to_numpy()] if table else np.empty(0, np.int64)

    def name(self, number: int) -> str:
        """The reason of a number."""
        return list(self._numbers)[number]


def compare_builds(older: PublishedBuild, newer: PublishedBuild, causes: Causes, *, examples: int) -> list[Group]:
    """The groups of pairs that moved, of each kind the largest first, with the first `examples` uids of each."""
    bits = min(build.deciding[0].bits for build in (older, newer))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = pool.map(partial(_compare, older, newer, causes, examples), Partition.all(bits))
        summed: dict[tuple[str, str, str, Cause], Group] = {}
        for group in (group for part in parts for group in part):
            key = (group.kind, group.step, group.reason, group.cause)
            total = summed.get(key, replace(group, count=0, uids=()))
            uids = [*total.uids, *group.uids][:examples]
            summed[key] = replace(group, count=total.count + group.count, uids=uids)
    kinds = list(CHANGING)
    return sorted(
        summed.values(),
        key=lambda group: (
            (kinds.index(group.reason.removeprefix(OTHER)), -group.count, group.cause.title, "")
            if group.kind == "changed"
            else (-group.count, group.step, group.reason, group.cause.title)
        ),
    )


def _compare(
    older: PublishedBuild, newer: PublishedBuild, causes: Causes, examples: int, part: Partition
) -> list[Group]:
    """The groups of one partition."""
    first = _first_difference(older, newer, part)
    if first is None:
        return []
    names, columns = Reasons(), PairColumns(Ledger(older.workspace, part=part))
    old_endings, new_endings = _aligned(older, newer, columns, first, names)
    moved = [
        *_moves("entered", old_endings, new_endings, older, names),
        *_moves("left", new_endings, old_endings, newer, names),
    ]
    in_both = old_endings.uids.filter(pa.array((old_endings.steps == 0) & (new_endings.steps == 0)))
    altered, any_differs = _altered(older, newer, columns, in_both)
    groups = [
        _group(moves, rows, cause, examples)
        for moves in (*moved, *altered)
        for cause, rows in causes.of_pairs(*moves[1:], columns)
        if rows.any()
    ]
    return [*groups, *([_group((ALTERED, "", "", in_both), any_differs)] if any_differs.any() else [])]


def _first_difference(older: PublishedBuild, newer: PublishedBuild, part: Partition) -> int | None:
    """The number of the first step that decided otherwise in a partition, as far as digests say; None for no step."""
    for number, (a, b) in enumerate(zip(older.deciding, newer.deciding, strict=False)):
        if a.name != b.name or not is_same(a, b, part):
            return number
    count = min(len(older.deciding), len(newer.deciding))
    return None if len(older.deciding) == len(newer.deciding) else count


def _aligned(
    older: PublishedBuild, newer: PublishedBuild, columns: PairColumns, first: int, names: Reasons
) -> tuple[Endings, Endings]:
    """Where the pairs of either build ended in each, from step `first` on: rows of both are of the same pairs."""
    if first:
        kept = columns.ledger.decisions(older.deciding[first - 1], ["uid"], pc.field("verdict") == "kept")
        uids = one_array(kept["uid"])
        return _endings(older, columns, first, uids, names), _endings(newer, columns, first, uids, names)
    a, b = (_endings(build, columns, 0, columns.judged(build.deciding[0]), names) for build in (older, newer))
    if a.uids.equals(b.uids):
        return a, b
    places = places_in(b.uids, a.uids)
    is_new = places.is_null().to_numpy(zero_copy_only=False)
    places = places.drop_null().to_numpy()
    is_gone = np.ones(len(a.uids), np.bool_)
    is_gone[places] = False
    uids = pa.concat_arrays([a.uids, b.uids.filter(pa.array(is_new))])
    endings = Endings(
        uids=uids,
        steps=np.concatenate([a.steps, np.ones(is_new.sum(), np.int64)]),
        reasons=np.concatenate([a.reasons, _why_absent(older, columns, b.uids.filter(pa.array(is_new)), names)]),
    )
    steps, reasons = np.ones(len(uids), np.int64), np.zeros(len(uids), np.int64)
    for target, values in ((steps, b.steps), (reasons, b.reasons)):
        target[places], target[len(a.uids) :] = values[~is_new], values[is_new]
    reasons[: len(a.uids)][is_gone] = _why_absent(newer, columns, a.uids.filter(pa.array(is_gone)), names)
    return endings, Endings(uids=uids, steps=steps, reasons=reasons)


def _endings(build: PublishedBuild, columns: PairColumns, first: int, uids: pa.Array, names: Reasons) -> Endings:
    steps, reasons, places = np.zeros(len(uids), np.int64), np.zeros(len(uids), np.int64), np.arange(len(uids))
    for number, record in enumerate(build.deciding[first:], first + 1):
        judged = columns.ledger.decisions(record, ["verdict", "reason"])
        if judged.num_rows != len(places):  # not the pairs that were kept before: `verify` says more
            places = places_in(columns.judged(record), uids).to_numpy()
        goes = pc.fill_null(pc.not_equal(judged["verdict"], "kept"), False)
        is_gone = one_array(goes).to_numpy(zero_copy_only=False)
        steps[places[is_gone]] = number
        reasons[places[is_gone]] = names.numbers(judged["reason"].filter(goes))
        places = places[~is_gone]
    return Endings(uids=uids, steps=steps, reasons=reasons)


def _why_absent(build: PublishedBuild, columns: PairColumns, uids: pa.Array, names: Reasons) -> Ints:
    """The reasons of `uids` that are no pairs: NOT_IN_POOL but of those that arrived, beyond a limit for instance."""
    reasons = dict[str, str]()
    if len(uids) and "arrivals" in build.deciding[0].hashes:
        rows = rows_with(columns.ledger.table(build.deciding[0], "arrivals", ["uid", "reason"]), uids)
        reasons = dict(zip(rows["uid"].to_pylist(), rows["reason"].to_pylist(), strict=True))
    reasons |= {uid: FORGOTTEN for uid in uids.to_pylist() if uid not in reasons and build.forgotten(uid)}
    return np.array([names.number(reasons.get(uid, NOT_IN_POOL)) for uid in uids.to_pylist()], np.int64)


Moved = tuple[Kind, str, str, pa.Array]
"""Pairs that moved: how, the step and the reason, and their uids."""


def _moves(kind: Kind, outside: Endings, inside: Endings, build: PublishedBuild, names: Reasons) -> Iterator[Moved]:
    """The pairs that are out of `build`, where they ended as `outside` says, and in the other one."""
    moved = (outside.steps > 0) & (inside.steps == 0)
    for step in np.unique(outside.steps[moved]).tolist():
        for reason in np.unique(outside.reasons[moved & (outside.steps == step)]).tolist():
            rows = moved & (outside.steps == step) & (outside.reasons == reason)
            yield kind, build.deciding[step - 1].name, names.name(reason), outside.uids.filter(pa.array(rows))


def _group(moved: Moved, rows: Flags, cause: Cause = _NO_CAUSE, examples: int = 0) -> Group:
    """The pairs among those that moved, with a cause, as a group."""
    kind, step, reason, uids = moved
    chosen = pa.table({"uid": uids.filter(pa.array(rows))})
    order = pc.select_k_unstable(chosen, k=min(examples, chosen.num_rows), sort_keys=[("uid", "ascending")])
    firsts = chosen["uid"].take(order).to_pylist()
    return Group(kind=kind, step=step, reason=reason, cause=cause, count=chosen.num_rows, uids=firsts)


def _altered(
    older: PublishedBuild, newer: PublishedBuild, columns: PairColumns, uids: pa.Array
) -> tuple[list[Moved], Flags]:
    """The pairs in both builds whose picture or caption differs, and whether anything does of each (n,)."""
    moved, any_differs = list[Moved](), np.zeros(len(uids), np.bool_)
    for name, (given, steps) in CHANGING.items():
        if all(_gives_same(older.giver(column), newer.giver(column), columns.part) for column in given):
            continue
        old_values, new_values = _values(older, columns, given, uids), _values(newer, columns, given, uids)
        differs = ~_equal(old_values, new_values).to_numpy(zero_copy_only=False)
        any_differs |= differs
        if differs.any():
            step = next(step for step in (*steps, "collect") if older.step(step) or newer.step(step))
            moved.append(("changed", step, f"{OTHER}{name}", uids.filter(pa.array(differs))))
    return moved, any_differs


def _gives_same(a: StepRecord | None, b: StepRecord | None, part: Partition) -> bool:
    """Whether the values of a column in a partition are the same, as far as digests say."""
    if a is None or b is None:
        return a is b
    return a.name == b.name and is_same(a, b, part)


def _values(build: PublishedBuild, columns: PairColumns, given: Iterable[str], uids: pa.Array) -> pa.Array:
    """The first of the columns `given` that is not null, for each uid."""
    values = pa.nulls(len(uids), pa.string())
    for name in given:
        if (record := build.giver(name)) is not None:
            column = one_array(columns.ledger.decisions(record, [name])[name])
            values = pc.coalesce(values, column.take(places_in(uids, columns.judged(record))))
    return values


def _equal(first: pa.Array, second: pa.Array) -> pa.BooleanArray:
    """Equal, where two nulls are."""
    both_null = pc.and_(pc.is_null(first), pc.is_null(second))
    return pc.or_(pc.fill_null(pc.equal(first, second), False), both_null)
