"""DataComp: the uids of a subset as one sorted array of 128-bit numbers, as DataComp's resharder reads it.

Gadre et al., DataComp: In search of the next generation of multimodal datasets, 2023 (arXiv:2304.14108).
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.exports.content import Content

FILE = "uids.npy"
_ROWS_AT_ONCE = 100_000


def write_datacomp(content: Content, folder: Path) -> dict[str, int]:
    """Write `uids.npy`: (n,) of dtype "u8,u8" (high and low 64 bits), sorted and unique; counts by where ids come from.

    An id is the row's `source_id` where that is 32 hex digits (a DataComp uid), else its `uid`. Ids that several rows
    share are written once; `repeated` counts the rows beyond the first.
    """
    ids, n_from_source = [], 0
    for rows in content.rows.tables(_ROWS_AT_ONCE):
        uid = rows["uid"].cast(pa.string())
        has_source_ids = "source_id" in rows.column_names
        source_ids = rows["source_id"].cast(pa.string()) if has_source_ids else pa.nulls(len(rows), pa.string())
        usable = pc.fill_null(pc.match_substring_regex(source_ids, r"^[0-9a-fA-F]{32}$"), False)
        ids.append(_as_numbers(pc.if_else(usable, source_ids, uid).to_pylist()))
        n_from_source += int(pc.sum(usable, min_count=0).as_py())
        content.progress(len(rows))
    unique = np.unique(np.concatenate(ids))
    np.save(folder / FILE, unique, allow_pickle=False)
    count = content.rows.count
    return {
        "ids": len(unique),
        "from_source_id": n_from_source,
        "from_uid": count - n_from_source,
        "repeated": count - len(unique),
    }


def _as_numbers(ids: list[str]) -> np.ndarray:
    """Hex digits (n of 32) as (n,) of dtype "u8,u8", the high half first."""
    halves = np.frombuffer(bytes.fromhex("".join(ids)), dtype=">u8").astype("<u8")
    return halves.view(np.dtype("<u8,<u8"))
