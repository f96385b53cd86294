"""Pairs and regions as tables: what a search is handed of pairs, and what a build stores of their regions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.regions.judgement import FIND_REGIONS
from evenly.storage.ledger import Ledger
from evenly.storage.pools.local_rows import FEATURES
from evenly.storage.workspace import Workspace

LIKELY = 0.5
"""The least probability of the attributes of a region in the table."""


def region_rows(schema: pa.Schema, uids: Sequence[str], texts: Sequence[str]) -> tuple[pa.Table, pa.Array]:
    """The table of pairs by the JSON of each one's picture, and the share that theirs cover; null for none."""
    rows, areas = list[dict[str, Any]](), list[float | None]()
    for uid, text in zip(uids, texts, strict=True):
        of_picture = json.loads(text)
        areas.append(of_picture["area"])
        for number, region in enumerate(of_picture["regions"]):
            sides = dict(zip(("x0", "y0", "x1", "y1"), region["box"], strict=True))
            rows.append(_EMPTY | {"uid": uid, "region": number, **sides} | region | _likely(region))
    return pa.Table.from_pylist(rows, schema), pa.array(areas, pa.float64())


def _likely(region: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a region whose probability is LIKELY or more, the likeliest first."""
    listed = region.get("attributes", {}).items()
    likely = sorted(((name, score) for name, score in listed if score >= LIKELY), key=lambda pair: (-pair[1], pair[0]))
    return {"attributes": [name for name, _ in likely], "attribute_scores": [score for _, score in likely]}


def shown_pictures(pairs: pa.Table, statements: str | None) -> pa.Table:
    """[uid, image_id, is_bare, statements] of pairs [uid, image_id, url] with the column that a search reads.

    is_bare: features alone are there. statements: text, or JSON.
    """
    values = pairs[statements].to_pylist() if statements else [None] * pairs.num_rows
    return pa.table(
        {
            "uid": pairs["uid"],
            "image_id": pairs["image_id"],
            "is_bare": pc.starts_with(pairs["url"], FEATURES),
            "statements": pa.array([_as_json(value) for value in values], pa.string()),
        }
    )


def _as_json(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def stored_regions(workspace: Workspace, manifest: Mapping[str, Any]) -> pa.Table | None:
    """The boxes of the regions that count of the pairs of a build [uid, regions], of all that it has looked at.

    None for a build that looked for none.
    """
    ledger = Ledger(workspace)
    records = ledger.find_all([step["key"] for step in manifest["steps"] if step["name"] == FIND_REGIONS.name])
    if not records or records[0] is None:
        return None
    table = ledger.table(records[0], "regions", ["uid", "x0", "y0", "x1", "y1", "reason"])
    boxes: dict[str, list[list[float]]] = {uid: [] for uid in ledger.decisions(records[0], ["uid"])["uid"].to_pylist()}
    for uid, *sides, reason in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        boxes[uid] += [] if reason else [sides]
    return pa.table({"uid": list(boxes), "regions": pa.array(boxes.values(), pa.list_(pa.list_(pa.float64())))})


_EMPTY = dict.fromkeys(("mask", "label", "phrase", "source", "reason"), "")
