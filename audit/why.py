"""The history of a pair: its way through every step of a build, read back from the ledger.

A merged pair is connected with the one that stands for it by a path over recorded duplicate edges.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.errors import UnknownSampleError
from evenly.audit.explanation import Explanation, PairHistory, StepSight
from evenly.audit.published import SHOWN, PublishedBuild, is_uid
from evenly.audit.replay import deciding_rule, replay_step, whole_rule
from evenly.audit.safe_text import visible
from evenly.curation.balance.sums import draw_rows
from evenly.storage.ledger import StepRecord
from evenly.storage.stores.files import each_stored
from evenly.storage.web.shards import each_records
from evenly.storage.workspace import Workspace


def path_between(edges: pa.Table, uid: str, target: str) -> list[dict[str, Any]]:
    """Return the fewest edges that lead from `uid` to `target`, in order: from, to, kind and distance of each.

    `edges` has the columns uid_a, uid_b, kind and distance and no direction. [] where no path is recorded.
    """
    came_from: dict[str, tuple[str, dict[str, Any]]] = {}
    visited, waiting = {uid}, deque([uid])
    while waiting and target not in visited:
        uid_reached = waiting.popleft()
        touching = edges.filter(pc.or_(pc.equal(edges["uid_a"], uid_reached), pc.equal(edges["uid_b"], uid_reached)))
        for edge in touching.to_pylist():
            neighbour = edge["uid_b"] if edge["uid_a"] == uid_reached else edge["uid_a"]
            if neighbour not in visited:
                visited.add(neighbour)
                came_from[neighbour] = (uid_reached, {"kind": edge.get("kind"), "distance": edge.get("distance")})
                waiting.append(neighbour)
    path: list[dict[str, Any]] = []
    while target in came_from:
        uid_reached, measured = came_from[target]
        path.insert(0, {"from": uid_reached, "to": target, **measured})
        target = uid_reached
    return path if path and path[0]["from"] == uid else []


MERGED_EXAMPLES = 20
KEYS = ("uid", "url", "file_name", "source_id", "image_id")  # what a pair may be asked for by
_DOWNLOAD = ("url", "image_id", "tar", "offset", "size", "attempt", "fetched_at")
# What names a pair and where its bytes lie; the other columns stand with the step that gave them.
IDENTITY = ("url", "caption", "source", "source_id", "group", "label")


def explain(workspace: Workspace, manifest: Mapping[str, Any], name: str, *, replay: bool = False) -> Explanation:
    """Return the history of the pair with this uid, or of all with this URL, file name, id or picture, in one build.

    A row that never became a pair (merged at once, beyond a limit) is known by its uid alone. With `replay`, each step
    is computed again where that is possible, and says how.

    Raises UnknownSampleError if the build never saw it.
    """
    build = PublishedBuild(workspace, manifest)
    query = name.strip()
    uids, without_uid = _uids(build, query) if query else ([], [])
    if not uids:
        raise unknown_sample(build, query)
    pairs = [_history(build, uid, without_uid) for uid in uids]
    if replay:
        pairs = [replace(pair, steps=[_replayed(build, pair, sight) for sight in pair.steps]) for pair in pairs]
    return Explanation(build=build.name, asked=query, pairs=pairs)


def unknown_sample(build: PublishedBuild, query: str) -> UnknownSampleError:
    """The error for a sample that a build knows nothing of; it counts the rows without a uid, which it may be among."""
    cause = f"it never saw `{visible(query)}`."
    if refused := _without_uid(build):
        total = sum(refused.values())
        counts = ", ".join(
            f"{count:,} of {visible(source)} ({visible(reason)})" for (source, reason), count in refused.items()
        )
        cause = (
            f"it knows none by `{visible(query)}`, which may be among the {total:,} pool rows without a uid that "
            f"`{build.deciding[0].name}` refused: {counts}."
        )
    return UnknownSampleError(
        f"`sample` must name a pair of build `{build.name}`; {cause} Ask with a uid, with a URL, file name or id "
        "exactly as the pool has it, or with the path of a picture."
    )


def _without_uid(build: PublishedBuild) -> dict[tuple[str, str], int]:
    """Counts of pool rows without a uid, by source and reason, the most first."""
    first = build.deciding[0]
    if "arrivals" not in first.hashes:
        return {}
    rows = build.ledger.table(first, "arrivals", ["source", "reason"], where=pc.field("uid").is_null())
    order = [("count_all", "descending"), ("source", "ascending"), ("reason", "ascending")]
    counted = rows.group_by(["source", "reason"]).aggregate([([], "count_all")]).sort_by(order)
    return {(row["source"], row["reason"]): row["count_all"] for row in counted.to_pylist()}


def _replayed(build: PublishedBuild, pair: PairHistory, sight: StepSight) -> StepSight:
    record = build.step(sight.step)
    return sight if record is None else replace(sight, replay=replay_step(build, pair.uid, record))


def uids_known_as(build: PublishedBuild, query: str) -> list[str]:
    """The uids of a uid, URL, file name, id or picture's hash; "" for rows without one."""
    return _uids(build, query)[0]


def _uids(build: PublishedBuild, query: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The uids of a uid, URL, file name, id or picture's hash; "" for rows without a uid.

    Those of rows that never became a pair are among them. With them the rows without a uid that have this URL. All
    files are searched only for what is no uid of the build.
    """
    if is_uid(query) and (build.pair(query, ()) is not None or _arrivals(build, query)):
        return [query], []
    if is_uid(query) and (masked := build.forgotten(query)):
        return [masked], []
    uids: list[str] = []
    for record in {record.key: record for key in KEYS if (record := build.giver(key)) is not None}.values():
        texts = {field.name for field in build.schema(record, "decisions") if pa.types.is_string(field.type)}
        keys = [key for key in KEYS if key in texts and build.giver(key) is record]
        condition = _any_is(keys, query) if keys else pc.scalar(False)
        uids += build.ledger.decisions(record, ["uid"], condition)["uid"].to_pylist()
    arrivals = _all_arrivals(build, query)
    uids = list(dict.fromkeys([*sorted(uids), *(row.get("uid") or "" for row in arrivals)]))
    return uids, [row for row in arrivals if not row.get("uid")]


def _history(build: PublishedBuild, uid: str, without_uid: list[dict[str, Any]]) -> PairHistory:
    row = build.pair(uid) if uid else None
    arrivals = _arrivals(build, uid) if uid else without_uid
    if row is None:
        first = arrivals[0]
        identity = {name: first[name] for name in IDENTITY if first.get(name) is not None}
        ended = (first["verdict"], build.deciding[0].name, first["reason"])
        return _pair(uid, ended, identity, arrivals)
    seen_by = [record for record in build.deciding if row[f"{record.name}_verdict"] is not None]
    sights = list(each_stored(lambda record: _sight(build, record, row), seen_by, build.workspace.root))
    end = next((sight for sight in sights if sight.verdict != "kept"), None)
    ended = (end.verdict, end.step, end.reason) if end else ("kept", "", "")
    names = dict.fromkeys([*IDENTITY, *build.deciding[0].columns])  # those that name it first
    identity = _plain({name: row[name] for name in names if row.get(name) is not None})
    pair = _pair(uid, ended, identity, [item | {name: row[name] for name in ("url", "caption")} for item in arrivals])
    count, examples = _merged_into(build, uid)
    return replace(pair, steps=sights, image=_image(build, row), merged=count, merged_examples=examples)


def _pair(
    uid: str, ended: tuple[str, str, str], identity: dict[str, Any], arrivals: list[dict[str, Any]]
) -> PairHistory:
    outcome, step, reason = ended
    return PairHistory(
        uid=uid, outcome=outcome, step=step, reason=reason, identity=identity, image=None, arrivals=arrivals,
        steps=(), merged=0, merged_examples=(),
    )  # fmt: skip


def _image(build: PublishedBuild, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Bytes seen at the pair's URL and where they lie now; None where no step downloaded it.

    `file` is None where no bytes are held: pools of features have none.
    """
    if row.get("image_id") is None:
        return None
    image: dict[str, Any] = {"image_id": row["image_id"], "file": None}
    folder = build.workspace.downloads
    if (record := _download(folder, row)) is not None:
        image |= _plain({name: record[name] for name in ("offset", "size", "attempt", "fetched_at")})
        image["file"] = None if record["tar"] is None else str(folder / record["tar"])
    return image


def _download(folder: Path, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a pair's picture, one with bytes before others, of these that of its own URL; None without any."""
    best, rank = None, (True, True)
    for records in each_records(folder, _DOWNLOAD):
        for record in records.filter(pc.equal(records["image_id"], row["image_id"])).to_pylist():
            record_rank = (record["tar"] is None, record["url"] != row["url"])
            if best is None or record_rank < rank:
                best, rank = record, record_rank
        if best is not None and not any(rank):
            break
    return best


def _arrivals(build: PublishedBuild, uid: str) -> list[dict[str, Any]]:
    """The pool rows that had this uid, in the order stored."""
    first = build.deciding[0]
    if "arrivals" not in first.hashes:
        return []
    return _plain_rows(build.around(uid).table(first, "arrivals", where=pc.field("uid") == uid))


def _all_arrivals(build: PublishedBuild, query: str) -> list[dict[str, Any]]:
    """The pool rows that had this URL or file name, in the order stored."""
    first = build.deciding[0]
    if "arrivals" not in first.hashes:
        return []
    keys = [key for key in KEYS if key in build.schema(first, "arrivals").names]
    return _plain_rows(build.ledger.table(first, "arrivals", where=_any_is(keys, query)))


def _any_is(columns: Sequence[str], text: str) -> pc.Expression:
    """Rows of which one of `columns` is `text`."""
    return reduce(or_, (pc.field(name) == text for name in columns))


def _sight(build: PublishedBuild, record: StepRecord, row: Mapping[str, Any]) -> StepSight:
    name, uid, reason = record.name, str(row["uid"]), row[f"{record.name}_reason"] or ""
    column_names = [] if record is build.deciding[0] else build.plain_columns(record)
    columns = {column: row[column] for column in column_names if row.get(column) is not None}
    survivor = row[f"{name}_into"]
    rows = _child_rows(build, record, uid)
    pair = {"reason": reason, "value": row[f"{name}_value"], "source": row.get("source")}
    if reason and "thresholds" in record.hashes:  # of all pairs
        pair["thresholds"] = build.ledger.table(record, "thresholds").to_pylist()
    return StepSight(
        step=name,
        version=record.version,
        verdict=row[f"{name}_verdict"],
        reason=reason,
        value=row[f"{name}_value"],
        rule=whole_rule(record),
        notes=record.notes,
        model=record.model,
        seed=record.seed,
        columns=_plain(columns),
        rows=rows,
        twin=None if survivor is None else _twin(build, record, uid, survivor),
        run={"key": record.key, "started": record.started, "ended": record.ended}
        | {"flow_run_id": record.flow_run_id, "code": dict(record.code)},
        decided_by=deciding_rule(record, columns | rows | pair),
    )


def _child_rows(build: PublishedBuild, record: StepRecord, uid: str) -> dict[str, list[dict[str, Any]]]:
    """The rows that belong to a pair in each table that names pairs; vectors are left out."""
    rows_by_table = dict[str, list[dict[str, Any]]]()
    for name in record.hashes:
        if name in ("decisions", "arrivals"):
            continue
        names = build.schema(record, name).names
        keys = [key for key in ("uid", "uid_a", "uid_b") if key in names]
        columns = [column for column in build.plain_columns(record, name) if column != "uid"]
        if not keys:
            continue
        condition = _any_is(keys, uid)
        ledger = build.around(uid) if keys == ["uid"] else build.ledger
        if name == "draws":
            rows = ledger.table(record, name, where=condition).to_pylist()
            rows_by_table[name] = [drawn for row in rows for drawn in draw_rows(row, build.concepts or ())]
        elif rows := _plain_rows(ledger.table(record, name, columns, condition)):
            rows_by_table[name] = [_with_concepts(build, row) for row in rows]
    return {name: rows for name, rows in rows_by_table.items() if rows}


def _with_concepts(build: PublishedBuild, row: dict[str, Any]) -> dict[str, Any]:
    """A row whose list of entry numbers is replaced by the concepts they stand for."""
    numbers, names = row.get("entries"), build.concepts
    if not isinstance(numbers, list) or names is None:
        return row
    return row | {"entries": [names[number] for number in numbers]}


def _twin(build: PublishedBuild, record: StepRecord, uid: str, survivor: str) -> dict[str, Any]:
    """The pair that stands for a merged one: who it is, how it ended, and the edges that lead to it."""
    row = build.pair(survivor) or {"uid": survivor, "url": None, "caption": None}
    twin = {name: row[name] for name in SHOWN if name in row}
    dropped_by = (step.name for step in build.deciding if row.get(f"{step.name}_verdict") not in (None, "kept"))
    name = next(dropped_by, "")
    ended = {"step": name, "reason": row[f"{name}_reason"] if name else ""}
    path = _path(build, record, uid, survivor) if "edges" in record.hashes else []
    return twin | {"ended": ended, "path": path}


def _path(build: PublishedBuild, record: StepRecord, uid: str, survivor: str) -> list[dict[str, Any]]:
    """The fewest recorded edges from a pair to the one that stands for it.

    An edge between the two is looked for first: it lies with one of them, and no way is shorter. Else those around the
    pairs reached so far are read again and again, one edge further each time.
    """
    is_direct = pc.field("uid_a").isin([uid, survivor]) & pc.field("uid_b").isin([uid, survivor])
    sides = {side.part: side for side in map(build.around, sorted((uid, survivor)))}
    direct = pa.concat_tables([side.table(record, "edges", where=is_direct) for side in sides.values()])
    path, reached, nearer = path_between(direct, uid, survivor), {uid}, set[str]()
    while not path and reached != nearer:
        is_reached = pc.field("uid_a").isin([*reached]) | pc.field("uid_b").isin([*reached])
        edges = build.ledger.table(record, "edges", where=is_reached)
        path = path_between(edges, uid, survivor)
        nearer, reached = reached, {uid, *edges["uid_a"].to_pylist(), *edges["uid_b"].to_pylist()}
    return path


def _merged_into(build: PublishedBuild, uid: str) -> tuple[int, list[dict[str, Any]]]:
    """The number of pairs merged into this one, over all steps, and the first of them."""
    count, examples = 0, list[dict[str, Any]]()
    merging = [record for record in build.deciding if record.counts.get("merged")]

    def merged_by(record: StepRecord) -> pa.Table:
        return build.ledger.decisions(record, ["uid", "reason"], pc.field("into") == uid)

    for merged in each_stored(merged_by, merging, build.workspace.root):
        count += merged.num_rows
        for row in merged.slice(0, MERGED_EXAMPLES - len(examples)).to_pylist():
            pair = build.pair(row["uid"], SHOWN) or {}
            examples.append(
                {"uid": row["uid"], "url": None}
                | {name: pair[name] for name in SHOWN[1:-1] if name in pair}
                | {"reason": row["reason"]}
            )
    return count, examples


def _plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    return [_plain(row) for row in table.to_pylist()]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in row.items()}


def _plain_value(value: Any) -> Any:  # noqa: ANN401 - any Arrow value
    """A JSON-able value: bytes in hex, times in ISO form, NaN as null."""
    if isinstance(value, Mapping):
        return _plain(value)
    if isinstance(value, list):
        return [_plain_value(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
