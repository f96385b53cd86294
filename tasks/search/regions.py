"""The regions of a build nearest to a query, by the mean of the cells in each; their rows are made once and stored."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.features.dense.method import cell_shares
from evenly.features.dense.regions import Regions
from evenly.features.dense.towers import dense_encoder
from evenly.features.search.nearest import nearest_rows
from evenly.features.unit_rows import Single, to_unit_rows
from evenly.storage.builds import encoder_of
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import Ledger
from evenly.storage.web.images import reader
from evenly.tasks.encoders import open_encoder
from evenly.tasks.regions.cells import dense_rows, pictures_at_once
from evenly.tasks.run import Run
from evenly.tasks.search.pairs import SearchedPairs

_TABLE = "regions"
_CORNERS = ("x0", "y0", "x1", "y1")
Region = Mapping[str, Any]


def nearest_regions(
    run: Run, manifest: Mapping[str, Any], query: Single, pairs: SearchedPairs, top: int
) -> tuple[list[dict[str, Any]], int]:
    """Uid, score, region, region_label and box of the `top` nearest regions that count, and how many pairs have any.

    Of equal scores the smaller uid and region come first. Raises InputError for a build without regions.
    """
    store = FeatureStore(run.workspace, encoder_of(manifest), _TABLE)
    regions = _regions(run, manifest, pairs)
    by_id = defaultdict[str, list[Region]](list)
    for region in regions:
        by_id[_id(region)].append(region)
    _store_rows(run, store, {name: equal[0] for name, equal in by_id.items()})
    ids = pa.array(list(by_id), pa.string())
    places, scores = nearest_rows(query, store.stored_batches(ids), top)
    rows = [
        {"uid": region["uid"], "score": float(score), "region": region["region"], "region_label": region["label"]}
        | {"box": [region[side] for side in _CORNERS]}
        for place, score in zip(places, scores, strict=True)
        for region in by_id[ids[int(place)].as_py()]
    ]
    ranked = sorted(rows, key=lambda row: (-row["score"], row["uid"], row["region"]))[:top]
    return ranked, len({region["uid"] for region in regions})


def _regions(run: Run, manifest: Mapping[str, Any], pairs: SearchedPairs) -> list[Region]:
    """The regions that count of the pairs of a selection, each with `image_id`."""
    ledger, rows = Ledger(run.workspace), list[Region]()
    step = next((step for step in manifest["steps"] if _TABLE in step["hashes"]), None)
    if step is None:
        raise InputError(
            f"`in` must be pictures or captions of a build without regions; `{manifest['build']}` has none. Write "
            "`regions` in its recipe: docs/regions.md."
        )
    record = ledger.get(step["key"])
    for batch in pairs.batches(["uid", "image_id"]):
        table = ledger.rows_of(record, _TABLE, batch["uid"].combine_chunks())
        table = table.filter(pc.equal(table["reason"], ""))
        places = pc.index_in(table["uid"].combine_chunks(), batch["uid"].combine_chunks())
        rows += table.append_column("image_id", batch["image_id"].take(places)).to_pylist()
    return rows


def _id(region: Region) -> str:
    """The name of a region's row: its picture, and what of it."""
    part = " ".join([*(f"{region[side]:g}" for side in _CORNERS), region["mask"]])
    return f"{region['image_id']}:{blake2b(part.encode(), digest_size=16).hexdigest()}"


def _store_rows(run: Run, store: FeatureStore, regions: Mapping[str, Region]) -> None:
    """Make the rows that are missing, of pictures a few at a time."""
    by_picture = defaultdict[str, list[str]](list)
    for name in store.missing(list(regions)):
        by_picture[regions[name]["image_id"]].append(name)
    if not by_picture:
        return
    encoder, read_bytes = dense_encoder(open_encoder(run), str(run.encoder.model)), reader(run.workspace.downloads)
    pictures, size = list(by_picture), pictures_at_once(encoder)
    with run.progress.bar("encoding regions", len(pictures)) as advance:
        for start in range(0, len(pictures), size):
            batch = pictures[start : start + size]
            dense = dense_rows(run, encoder, batch, list(read_bytes(batch)), stores_cells=False)
            names = [name for picture in batch for name in by_picture[picture]]
            rows = list[Single]()
            for place, picture in enumerate(batch):
                shares = cell_shares(dense, place, _as_regions([regions[name] for name in by_picture[picture]]))
                sums = np.einsum("mhw,hwd->md", shares, dense.cells[place])
                is_covered = shares.reshape(len(shares), -1).any(axis=1, keepdims=True)
                rows.append(np.where(is_covered, sums, dense.image[place]).astype(np.float32))
            store.append(names, *to_unit_rows(np.concatenate(rows)), device=encoder.device_name)
            advance(len(batch))


def _as_regions(rows: Sequence[Region]) -> Regions:
    return Regions.from_rows([{"box": [row[side] for side in _CORNERS], "mask": row["mask"]} for row in rows])
