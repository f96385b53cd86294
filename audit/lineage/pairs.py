"""Pairs, pictures, URLs, pool files and requests in the graph of a workspace: those that were request_facts for."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.lineage.stored import StoredGraph, step_node
from evenly.audit.published import SHOWN, PublishedBuild, name_of
from evenly.audit.why import uids_known_as
from evenly.keys import LOCAL_ADDRESS
from evenly.storage.chat.requests import Requests
from evenly.storage.errors import NotFoundError
from evenly.storage.ledger import Ledger, StepRecord

_FEW = 20  # files of a source that stand as nodes; of more, one node counts them
_OF_REQUESTS = {"descriptions", "candidates"}
"""Tables of steps whose rows say of which request they come."""


def published_builds(stored: StoredGraph) -> list[PublishedBuild]:
    """The builds of a workspace, the newest first."""
    return [PublishedBuild(stored.workspace, manifest) for manifest in reversed(list(stored.manifests.values()))]


def add_pairs(stored: StoredGraph, query: str) -> list[str]:
    """The pairs of a uid, URL, file name, id or picture in all builds; their nodes, none where no build saw it."""
    uids = dict[str, None]()
    looked = set[str]()
    for build in published_builds(stored):
        shown = build.deciding[0].key + "".join(record.key for record in build.deciding if "image_id" in record.columns)
        if shown not in looked:
            looked.add(shown)
            uids |= dict.fromkeys(uid for uid in uids_known_as(build, query) if uid)
    return [_add_pair(stored, uid) for uid in uids]


def _add_pair(stored: StoredGraph, uid: str) -> str:
    graph = stored.graph
    key = graph.add("pair", uid)
    for build in published_builds(stored):
        row = build.pair(uid)
        if row is None:
            continue
        named = {name: row[name] for name in SHOWN if row.get(name) is not None}
        graph.add("pair", uid, f"{uid}  {name_of(named)}", **named)
        for arrival in _arrivals(build, uid):
            graph.link(
                _file(stored, build.deciding[0], arrival),
                key,
                f"row {arrival['row']:,} of it, from source {arrival.get('source')}",
            )
        _picture(stored, row, key)
        _ended(stored, build, row, key)
        _seen_by(stored, build, uid, key)
    return key


def _arrivals(build: PublishedBuild, uid: str) -> list[dict[str, Any]]:
    first = build.deciding[0]
    if "arrivals" not in first.hashes:
        return []
    names = [name for name in ("source", "file_hash", "row") if name in build.schema(first, "arrivals").names]
    rows: list[dict[str, Any]] = build.around(uid).table(first, "arrivals", names, pc.field("uid") == uid).to_pylist()
    return rows


def _file(stored: StoredGraph, collected: StepRecord, row: Mapping[str, Any]) -> str:
    """A file of a pool, which is part of its source where the build has one source alone."""
    graph, sha256 = stored.graph, str(row["file_hash"])
    key = graph.add("file", sha256, sha256[:12], sha256=sha256)
    sources = [value for name, value in collected.inputs.items() if name.startswith("source ")]
    if len(sources) == 1:
        graph.link(key, f"source:{sources[0]}", "is part of it")
    graph.link(key, step_node(graph, collected), "is read by it")
    return key


def _picture(stored: StoredGraph, row: Mapping[str, Any], key: str) -> None:
    graph, image_id, url = stored.graph, row.get("image_id"), row.get("url")
    is_web = url and not pc.match_substring_regex(pa.array([url]), LOCAL_ADDRESS)[0].as_py()
    source = graph.add("url", str(url)) if is_web else None
    if image_id is not None:
        picture = graph.add("picture", image_id, image_id[:12], sha256=image_id)
        graph.link(picture, key, "is its picture")
        if source is not None:
            graph.link(source, picture, "was downloaded from it")
    elif source is not None:
        graph.link(source, key, "is its address")


def _ended(stored: StoredGraph, build: PublishedBuild, row: Mapping[str, Any], key: str) -> None:
    """Where the pair ended in a build: in it, or at a step."""
    graph = stored.graph
    end = next((step.name for step in build.deciding if row.get(f"{step.name}_verdict") not in (None, "kept")), None)
    if end is None:
        graph.link(key, f"build:{build.name}", "is kept in it")
        return
    verdict, reason, survivor = (row.get(f"{end}_{name}") for name in ("verdict", "reason", "into"))
    label = f"{build.name}: {verdict} at {end} ({reason})"
    graph.link(key, graph.add("outcome", f"{build.name}/{row['uid']}", label, step=end, reason=reason), "ended there")
    if survivor is not None:
        graph.link(key, graph.add("pair", str(survivor)), f"is merged into it by {end}")


def _seen_by(stored: StoredGraph, build: PublishedBuild, uid: str, key: str) -> None:
    """Evaluations that had the pair in a part of theirs, and requests that request_facts about it."""
    ledger, graph = Ledger(stored.workspace), stored.graph
    for record in stored.records.values():
        if record.name == "evaluate_adapters" and record.rule.get("build") == build.name:
            rows = ledger.table(record, "split", ["uid", "part"], pc.field("uid") == uid).to_pylist()
            for row in rows:
                graph.link(key, step_node(graph, record), f"is in its {row['part']} part")
    for chosen in (record for record in build.records if "candidates" in record.hashes):
        of_pair = (pc.field("uid") == uid) & pc.field("request_id").is_valid()
        for row in ledger.table(chosen, "candidates", ["request_id"], of_pair).to_pylist():
            if (request := add_request(stored, row["request_id"])) is not None:
                graph.link(request, key, "offered captions for it")


def add_pool_file(stored: StoredGraph, sha256: str) -> list[str]:
    """The node of a pool file by its SHA-256; none where no build read it."""
    keys = list[str]()
    for record in _collected(stored):
        rows = Ledger(stored.workspace).table(
            record, "arrivals", ["source", "file_hash"], pc.field("file_hash") == sha256
        )
        if rows.num_rows:
            row = {"source": rows["source"][0].as_py(), "file_hash": sha256}
            keys.append(_file(stored, record, row))
            stored.graph.add("file", sha256, rows=rows.num_rows)
    return keys[:1]


def add_pool_files(stored: StoredGraph, key: str) -> None:
    """The files that a step collected: each, or where a source has many, how many."""
    record = stored.records.get(key.partition(":")[2])
    if record is None or "arrivals" not in record.hashes:
        return
    rows = Ledger(stored.workspace).table(record, "arrivals", ["source", "file_hash"])
    counted = rows.group_by(["source", "file_hash"]).aggregate([([], "count_all")]).to_pylist()
    for source in dict.fromkeys(row["source"] for row in counted):
        files = [row for row in counted if row["source"] == source]
        if len(files) <= _FEW:
            for row in files:
                stored.graph.add("file", _file(stored, record, row).partition(":")[2], rows=row["count_all"])
        else:
            total = sum(row["count_all"] for row in files)
            label = f"{len(files):,} files of {source}"
            named = stored.graph.add("files", f"{record.key[:32]}/{source}", label, files=len(files), rows=total)
            stored.graph.link(named, key, "are read by it")


def _collected(stored: StoredGraph) -> Iterator[StepRecord]:
    """The runs of the step that reads pools."""
    return (record for record in stored.records.values() if "arrivals" in record.hashes)


def add_request(stored: StoredGraph, request: str) -> str | None:
    """The node of a request to a language model: who answered, and the steps that keep the reply."""
    graph = stored.graph
    if f"request:{request}" in graph.nodes:
        return f"request:{request}"
    record = None
    with suppress(NotFoundError, ValueError):
        record = Requests(stored.workspace).get(request)
    if record is None:
        return None
    request_facts = record.get("request", {})
    facts = {"outcome": record.get("outcome"), "model": request_facts.get("model")}
    key = graph.add("request", request, request[:12], **facts)
    if request_facts.get("endpoint"):
        graph.link(
            graph.add("model", str(request_facts["endpoint"]), str(request_facts.get("model", ""))), key, "answered it"
        )
    ledger = Ledger(stored.workspace)
    for step in stored.records.values():
        for table in _OF_REQUESTS & step.hashes.keys():
            if "request_id" in ledger.schema(step, table).names:
                rows = ledger.table(step, table, ["request_id"], pc.field("request_id") == request).num_rows
                if rows:
                    graph.link(key, step_node(graph, step), f"gave {rows:,} of its texts")
    return key
