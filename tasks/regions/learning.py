"""Region methods fitted to labelled regions of a pool's own pictures, once for the same ones."""

import base64
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.errors import RuleError
from evenly.features.dense.given import stated_regions
from evenly.features.dense.method import Arrays
from evenly.features.dense.rows import Dense
from evenly.storage.feature_store import TextStore
from evenly.storage.records import content_hash
from evenly.storage.web.images import read_images
from evenly.tasks.refining.pairs import dealt_parts
from evenly.tasks.regions.search import RegionSearch
from evenly.tasks.run import Run

_AT_ONCE = 64
_ARRAYS = "arrays"


def pictures_of_train(pairs: pa.Table, groups: Sequence[str], most: int, *, seed: int) -> pa.Table:
    """The first pairs of train that have boxes, by the hash of their picture, each picture once.

    Of pairs [uid, image_id, is_bare, boxes] and their groups, which are dealt as refining deals them.
    """
    is_train = pa.array(dealt_parts(np.array(groups, np.str_), seed=seed) == "train")
    chosen = pairs.filter(pc.and_(is_train, pc.and_not(pairs["statements"].is_valid(), pairs["is_bare"])))
    return first_pictures(chosen, most)


def first_pictures(pairs: pa.Table, most: int) -> pa.Table:
    """The first pairs by the hash of their picture, each picture once."""
    ordered = pairs.sort_by([("image_id", "ascending"), ("uid", "ascending")])
    _, places = np.unique(ordered["image_id"].to_numpy(zero_copy_only=False).astype(np.str_), return_index=True)
    return ordered.take(pa.array(places[:most]))


def learned_search(run: Run, search: RegionSearch, pictures: pa.Table) -> RegionSearch:
    """The search whose method is fitted to `pictures`; what it learned is stored, and read where it is."""
    if search.method is None or not pictures.num_rows:
        raise RuleError("`learn` must have pictures of train with `boxes`; there are none. Add some, or leave it out.")
    ids, boxes = (pictures[name].to_pylist() for name in ("image_id", "statements"))
    store = TextStore(run.workspace, content_hash([search.identity(run), ids, boxes]), "learned")
    (text,) = store.read([_ARRAYS])
    arrays = _fitted(run, search, ids, boxes) if text is None else _read(text)
    if text is None:
        store.append([_ARRAYS], [_text(arrays)])
    return replace(search, method=search.method.with_arrays(arrays), learned=arrays)


def _fitted(run: Run, search: RegionSearch, ids: Sequence[str], boxes: Sequence[str]) -> Arrays:
    images = list(read_images(run.workspace.downloads, ids))
    parts = list[Dense]()
    with run.progress.bar("learning of regions", len(ids)) as advance:
        for start in range(0, len(ids), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            parts.append(search.dense(run, ids[part], images[part]))
            advance(len(parts[-1]))
    columns: dict[str, Any] = {entry.name: [getattr(part, entry.name) for part in parts] for entry in fields(Dense)}
    joined: dict[str, Any] = {name: None if rows[0] is None else np.concatenate(rows) for name, rows in columns.items()}
    dense = Dense(**joined)
    sizes = [(int(width), int(height)) for width, height in dense.sizes]
    regions = stated_regions(boxes, sizes, source=f"column:{search.rule.boxes}").kept
    crops = search.crops(run, images, regions)
    method: Any = search.method
    fitted = method.fit(dense, regions, search.vocabulary(run), **({} if crops is None else {"crops": crops}))
    arrays: Arrays = fitted.arrays()
    return arrays


def _text(arrays: Arrays) -> str:
    from safetensors.numpy import save

    return base64.b64encode(save({name: np.ascontiguousarray(rows) for name, rows in arrays.items()})).decode()


def _read(text: str) -> Arrays:
    from safetensors.numpy import load

    arrays: Arrays = load(base64.b64decode(text))
    return arrays
