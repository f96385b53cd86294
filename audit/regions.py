"""Regions of pairs in the ledger of a build: as rows, as a line of text, and as a column of an export."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.audit.published import PublishedBuild
from evenly.audit.safe_text import visible
from evenly.curation.regions.judgement import FIND_REGIONS, FURTHER
from evenly.features.dense.regions import Regions, run_lengths
from evenly.storage.exports.content import REGION
from evenly.storage.ledger import StepRecord

REGION_TABLE = "regions"
OF_POOL = "pool_regions"
"""A column of that name that a pool has, in exports."""
CORNERS = ("x0", "y0", "x1", "y1")


def counting(table: pa.Table) -> pa.Table:
    """The regions that count."""
    return table.filter(pc.equal(table["reason"], ""))


def regions_of(rows: Sequence[Mapping[str, Any]]) -> Regions:
    """Regions of one picture, of rows of the ledger."""
    score = ({} if row["score"] is None else {"score": row["score"]} for row in rows)
    return Regions.from_rows([
        {name: row[name] for name in ("mask", "label", "phrase", "source", "reason")}
        | {"box": [row[side] for side in CORNERS], **scored}
        for row, scored in zip(rows, score, strict=True)
    ])  # fmt: skip


def region_line(row: Mapping[str, Any]) -> str:
    """A region in a line in which nothing acts."""
    words = [f"{row['region']}  {visible(row['label']) or 'no label'}"]
    words += [] if row["score"] is None else [f"{row['score']:.4f}".rstrip("0").rstrip(".")]
    words += ["box " + " ".join(f"{row[side]:g}" for side in CORNERS)] if row["x0"] < row["x1"] else []
    words += ["mask"] if row["mask"] else []
    words += ["of " + ", ".join(visible(name) for name in row["attributes"])] if row.get("attributes") else []
    words += [f"holds {row['count']:g}"] if row.get("count") is not None else []
    words += [f'"{visible(row["phrase"])}"'] if row["phrase"] else []
    words += [visible(row["source"]), *([f"does not count: {visible(row['reason'])}"] if row["reason"] else [])]
    return "  ".join(words)


def with_regions(build: PublishedBuild, rows: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Rows of pairs in uid order with a list of the regions of each that count; as they are in a build without any.

    A column of that name that the pool has is called OF_POOL.
    """
    record = build.step(FIND_REGIONS.name)
    for table in rows:
        yield table if record is None else _with_list(build, record, table)


def _with_list(build: PublishedBuild, record: StepRecord, table: pa.Table) -> pa.Table:
    table = table.rename_columns([OF_POOL if name == REGION_TABLE else name for name in table.column_names])
    regions = counting(build.ledger.rows_of(record, REGION_TABLE, table["uid"].combine_chunks()))
    places = pc.index_in(regions["uid"].combine_chunks(), table["uid"].combine_chunks()).to_numpy()
    offsets = pa.array(np.r_[0, np.cumsum(np.bincount(places, minlength=len(table)))], pa.int32())
    further = [entry for fields in FURTHER.values() for entry in fields if entry.name in regions.column_names]
    entries = pa.array([_entry(row) for row in regions.to_pylist()], pa.struct([*REGION, *further]))
    return table.append_column(REGION_TABLE, pa.ListArray.from_arrays(offsets, entries))


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """A region as exports have it."""
    x0, y0, x1, y1 = box = [float(row[side]) for side in CORNERS]
    area = sum(run_lengths(row["mask"])[1::2]) if row["mask"] else (x1 - x0) * (y1 - y0)
    return {**row, "box": box, "area": float(area)}
