"""Sources of features of pictures, sent to where the pictures are encoded: vectors of pools, places of bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.features import to_unit_rows
from evenly.storage.feature_store import OF_POOL, FeatureStore
from evenly.storage.pools.rows import PoolPiece
from evenly.storage.pools.source import FEATURES_KIND, PoolError, PoolSource, local_features, pool_pieces
from evenly.tasks.encoders import open_encoder
from evenly.tasks.pictures.observed import PicturePlaces, send_places
from evenly.tasks.pictures.sent_rows import SentRows, release_rows, send_items
from evenly.tasks.run import Each, Run


@dataclass(frozen=True, kw_only=True)
class PictureSources:
    """Where features of pictures come from: by default they are looked for as they are needed.

    vectors: those of pools of features [image_id, vector, norm], of unit length, by image_id; None: not sent.
    """

    vectors: SentRows | None = None
    places: PicturePlaces = field(default_factory=PicturePlaces)

    def release(self) -> None:
        """Remove what was sent."""
        release_rows(self.vectors)
        release_rows(self.places.sent)


def send_sources(run: Run, each: Each) -> PictureSources:
    """What features are made of, sent where the run has partitions."""
    if not run.bits:
        return PictureSources()
    pieces = [
        (source, piece) for source in run.sources if source.kind == FEATURES_KIND for piece in pool_pieces(source)
    ]
    vectors = None
    if pieces:
        give = partial(_vectors, open_encoder(run).dimension)
        vectors = send_items(run, each, "reading features", "image_id", give=give, items=pieces)
    try:
        return PictureSources(vectors=vectors, places=send_places(run, each))
    except BaseException:
        release_rows(vectors)
        raise


def take_vectors(store: FeatureStore, wanted: list[str], vectors: pa.Table) -> None:
    """Store those of the vectors whose pictures are wanted, each once."""
    names = vectors["image_id"].combine_chunks()
    places = pc.index_in(pa.array(wanted, pa.string()), names)
    rows = vectors.take(places.drop_null()).combine_chunks()
    column = rows["vector"].combine_chunks()
    matrix = column.flatten().to_numpy().reshape(len(column), -1)
    store.append(rows["image_id"].to_pylist(), matrix, rows["norm"].to_numpy(), device=OF_POOL)


def check_dimension(dimension: int, vectors: np.ndarray, path: str | Path) -> None:
    """Raise PoolError unless vectors (n, d) of a pool are as long as those of the run's encoder."""
    if vectors.shape[1] != dimension:
        raise PoolError(
            f"`vector` must be features of the recipe's encoder, of {dimension} numbers; got {vectors.shape[1]} in "
            f"`{path}`. Name the encoder that made them in `features`."
        )


def _vectors(dimension: int, _run: Run, piece: tuple[PoolSource, PoolPiece]) -> Iterator[pa.Table]:
    source, files = piece
    for rows in local_features(source, files):
        check_dimension(dimension, rows.vectors, source.path)
        usable = rows.ids.is_valid()
        unit, norms = to_unit_rows(rows.vectors[usable.to_numpy(zero_copy_only=False)])
        flat = pa.array(np.ascontiguousarray(unit, dtype=np.float16).reshape(-1))
        yield pa.table(
            {
                "image_id": rows.ids.filter(usable),
                "vector": pa.FixedSizeListArray.from_arrays(flat, unit.shape[1]),
                "norm": pa.array(np.asarray(norms, dtype=np.float32)),
            }
        )
