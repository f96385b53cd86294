"""Region methods fitted to a pool's own pictures and their labelled regions, once for the same ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.errors import RuleError
from evenly.features.dense.given import stated_regions
from evenly.features.dense.rows import Dense
from evenly.storage.artifacts.kinds import learned_regions_of
from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.records import content_hash
from evenly.storage.web.images import read_images
from evenly.tasks.encoders import encoder_identity
from evenly.tasks.refining.pairs import dealt_parts
from evenly.tasks.regions.search import RegionSearch
from evenly.tasks.run import Run

_AT_ONCE = 64
_VERSION = 2
"""Raised when a method would learn other arrays of the same regions."""


def pictures_of_train(
    pairs: pa.Table, groups: Sequence[str], most: int, *, seed: int, is_labelled: bool = True
) -> pa.Table:
    """The first pairs of train, those that have boxes where it `is_labelled`, by the hash of a picture, each once.

    Of pairs [uid, image_id, is_bare, statements] and their groups, which are dealt as refining deals them.
    """
    is_train = pa.array(dealt_parts(np.array(groups, np.str_), seed=seed) == "train")
    chosen = pairs.filter(pc.and_not(is_train, pairs["is_bare"]))
    return first_pictures(chosen.filter(chosen["statements"].is_valid()) if is_labelled else chosen, most)


def first_pictures(pairs: pa.Table, most: int) -> pa.Table:
    """The first pairs by the hash of their picture, each picture once."""
    ordered = pairs.sort_by([("image_id", "ascending"), ("uid", "ascending")])
    _, places = np.unique(ordered["image_id"].to_numpy(zero_copy_only=False).astype(np.str_), return_index=True)
    return ordered.take(pa.array(places[:most]))


def learned_search(run: Run, search: RegionSearch, pictures: pa.Table) -> tuple[RegionSearch, Mapping[str, Any]]:
    """The search whose method is fitted to `pictures`, and what it learned, in numbers and shapes.

    That is an artifact, whose card names the pictures; it is read where it is.
    """
    from safetensors.numpy import load, save

    if search.method is None or not pictures.num_rows:
        raise RuleError(
            "`learn` must have pictures of train, which have boxes where `boxes` is named; there are none. Add some, "
            "or leave it out."
        )
    ids, boxes = (pictures[name].to_pylist() for name in ("image_id", "statements"))
    artifacts, name = learned_regions_of(run.workspace), content_hash([_VERSION, search.identity(run), ids, boxes])
    try:
        card, content = artifacts.read(name)
    except (NotFoundError, DamagedError):
        arrays, count = _fitted(run, search, ids, boxes)
        card, content = {"pictures": ids, "regions": count}, save(arrays)
        artifacts.put(name, card, content, made_of={"encoder": encoder_identity(run)}, force=True)
    arrays = load(content)
    values = {key: round(rows.item(), 4) if rows.size == 1 else list(rows.shape) for key, rows in arrays.items()}
    learned = {"artifact": name, "pictures": len(ids), "regions": card["regions"], "values": values}
    return replace(search, method=search.method.with_arrays(arrays), learned=arrays), learned


def _fitted(run: Run, search: RegionSearch, ids: Sequence[str], boxes: Sequence[str]) -> tuple[dict[str, Any], int]:
    """The arrays that the method learned, and of how many regions whose labels are those of things."""
    images = list(read_images(run.workspace.downloads, ids))
    parts = list[Dense]()
    with run.progress.bar("learning of regions", len(ids)) as advance:
        for start in range(0, len(ids), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            parts.append(search.dense(run, ids[part], images[part]))
            advance(len(parts[-1]))
    dense = replace(Dense.concatenated(parts), ids=np.array(ids, np.str_))
    sizes = [(int(width), int(height)) for width, height in dense.sizes]
    regions = stated_regions(boxes, sizes, source=f"column:{search.rule.boxes}").kept
    crops, vocabulary = search.crops(run, images, regions), search.vocabulary(run)
    method: Any = search.method
    fitted = method.fit(dense, regions, vocabulary, **({} if crops is None else {"crops": crops}))
    arrays = {name: np.ascontiguousarray(rows) for name, rows in fitted.arrays().items()}
    return arrays, int(np.isin(regions.labels, vocabulary.names).sum())
