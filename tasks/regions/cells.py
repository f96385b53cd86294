"""Rows of the cells of pictures, made in one pass with those of whole pictures, and stored where that is wanted."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.features import to_unit_rows
from evenly.features.dense.rows import Dense, unit_length
from evenly.features.dense.towers import DenseEncoder
from evenly.features.refining.pairs import raw_rows
from evenly.storage.feature_store import FeatureStore, RowStore
from evenly.tasks.run import Run

_BYTES = 64_000_000


def pictures_at_once(encoder: DenseEncoder) -> int:
    """The number of pictures whose cells are held at a time."""
    return max(1, min(256, _BYTES // (4 * int(np.prod(encoder.grid)))))


def dense_rows(
    run: Run, encoder: DenseEncoder, image_ids: Sequence[str], images: Sequence[bytes], *, stores_cells: bool
) -> Dense:
    """Rows of different pictures, and of their cells, in half precision whether these are stored or not.

    Rows of pictures are stored where they are missing; with `stores_cells` those of cells are too, and are not made
    again. Raises UnreadableImageError for bytes that do not decode.
    """
    ids = pa.array(list(image_ids), pa.string())
    pictures = FeatureStore(run.workspace, encoder.frozen_identity, "images")
    cell_store = RowStore(run.workspace, encoder.identity, "cells")
    new_cells = set((cell_store.missing(ids) if stores_cells else ids).to_pylist())
    new_pictures = set(pictures.missing(ids))
    places = [place for place, name in enumerate(image_ids) if name in new_cells | new_pictures]
    cells: npt.NDArray[np.number] = np.empty((len(ids), *encoder.grid), np.float16)
    if places:
        rows, raw_cells = encoder.raw([images[place] for place in places])
        cells[places] = unit_length(raw_cells)
        added = [row for row, place in enumerate(places) if image_ids[place] in new_pictures]
        if added:
            names = [image_ids[places[row]] for row in added]
            pictures.append(names, *to_unit_rows(rows[added]), device=encoder.device_name)
    if stores_cells:
        added = [place for place in places if image_ids[place] in new_cells]
        cell_store.append(ids.take(pa.array(added, pa.int64())), cells[added].reshape(len(added), cells[0].size))
        cells = cell_store.read(ids).reshape(cells.shape)
    return encoder.placed(images, raw_rows(*pictures.read(ids)), unit_length(cells.astype(np.float32)))
