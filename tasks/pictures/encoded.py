"""Features of pictures: encoded once per encoder, or taken from pools of features, and stored; counts of a build's."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.features import to_unit_rows
from evenly.features.batched_rows import ahead
from evenly.features.dense.towers import DenseEncoder, dense_encoder
from evenly.features.encoders.stages import READING, WRITING, timed
from evenly.features.refining.encoder import RefinedEncoder
from evenly.features.refining.pairs import raw_rows
from evenly.storage.builds import encoder_of
from evenly.storage.feature_store import OF_POOL, FeatureStore, text_id
from evenly.storage.pools.source import FEATURES_KIND, local_features
from evenly.storage.samples import BuildSamples
from evenly.storage.web.images import read_images
from evenly.storage.workspace import Workspace
from evenly.tasks.encoders import CHUNK, encoder_identity, frozen_run, open_encoder
from evenly.tasks.pictures.sent_rows import PictureSources, check_dimension, take_vectors
from evenly.tasks.regions.cells import dense_rows, pictures_at_once
from evenly.tasks.run import Run


def store_images(run: Run, image_ids: Sequence[str] | pa.Array, sources: PictureSources = PictureSources()) -> int:  # noqa: B008 - frozen
    """Encode and store the pictures that have no features yet; how many there were.

    `sources` has what they are made of, in the run's partition; without, it is looked for among all there is.
    """
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    missing = store.missing(image_ids)
    if not missing:
        return 0
    encoder, count = open_encoder(run), len(missing)
    has_pools = any(source.kind == FEATURES_KIND for source in run.sources)
    if run.stores_cells and not has_pools:
        _store_cells(run, dense_encoder(encoder, run.encoder.model), missing, sources)
    if isinstance(encoder, RefinedEncoder):
        _refine_stored(run, encoder, store, missing, sources)
        return count
    if has_pools:
        _take_features(run, store, missing, sources)
    missing = store.missing(missing)
    places = sources.places.of(run, missing) if missing else None
    chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]

    def read(chunk: Sequence[str]) -> list[bytes]:
        with timed(READING):
            return list(read_images(run.workspace.downloads, chunk, places))

    def write(chunk: Sequence[str], vectors: np.ndarray, norms: np.ndarray) -> None:
        with timed(WRITING):
            store.append(chunk, vectors, norms, device=encoder.device_name)

    # The next chunk is read, and the last one written, while this one is encoded.
    with (
        run.progress.bar("encoding pictures", len(missing)) as advance,
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as writer,
    ):
        written: Future[None] | None = None
        for chunk, images in zip(chunks, ahead(reader, read, chunks, 1), strict=True):
            rows = to_unit_rows(encoder.encode_images(images, progress=advance))
            if written is not None:
                written.result()
            written = writer.submit(write, chunk, *rows)
        if written is not None:
            written.result()
    return count


def _store_cells(run: Run, encoder: DenseEncoder, missing: Sequence[str], sources: PictureSources) -> None:
    """Encode pictures in one pass with their cells; of a refined encoder the rows of the frozen one are stored."""
    places, size = sources.places.of(run, missing), pictures_at_once(encoder)
    with run.progress.bar("encoding pictures and cells", len(missing)) as advance:
        for start in range(0, len(missing), size):
            chunk = missing[start : start + size]
            images = list(read_images(run.workspace.downloads, chunk, places))
            dense_rows(run, encoder, chunk, images, stores_cells=True)
            advance(len(chunk))


def _refine_stored(
    run: Run, encoder: RefinedEncoder, store: FeatureStore, missing: Sequence[str], sources: PictureSources
) -> None:
    """Store refined rows of pictures, made of those of the frozen encoder, which are encoded where there are none."""
    frozen = frozen_run(run)
    store_images(frozen, missing, sources)
    rows = FeatureStore(run.workspace, encoder.base.identity, "images")
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]
        store.append(chunk, *to_unit_rows(encoder.heads.image(raw_rows(*rows.read(chunk)))), device=encoder.device_name)


def image_rows(run: Run, store: FeatureStore, image_ids: Sequence[str] | pa.Array) -> np.ndarray:
    """The unit rows (n, d) float16 of pictures, in the order given; those that are stored no more are encoded again."""
    missing = store.missing(image_ids) if len(image_ids) else []
    if missing:
        store_images(run, sorted(missing))
    return store.read(image_ids)[0]


def rows_of_pictures(run: Run, ids: Sequence[str] | pa.Array) -> np.ndarray:
    """The same by the run's encoder; of no picture as long as those that are stored, 0 where none is."""
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    if not len(ids) and store.version is None:
        return np.empty((0, 0), np.float16)
    return image_rows(run, store, ids)


def pictures_of(run: Run, ids: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The features of the different pictures among `ids`, and the place of each one's."""
    different = ids.unique()
    return rows_of_pictures(run, different), pc.index_in(ids, different)


def _take_features(run: Run, store: FeatureStore, missing: list[str], sources: PictureSources) -> None:
    """Store what pools of features hold of the pictures `missing`, whose ids are hashes of these features."""
    if sources.vectors is not None:
        take_vectors(store, missing, sources.vectors.of(run))
        return
    wanted = set(missing)
    for source in run.sources:
        for rows in local_features(source) if wanted else ():
            check_dimension(open_encoder(run).dimension, rows.vectors, source.path)
            places = {image_id: place for place, image_id in enumerate(rows.ids.to_pylist()) if image_id in wanted}
            store.append(list(places), *to_unit_rows(rows.vectors[list(places.values())]), device=OF_POOL)
            wanted -= set(places)


UNKNOWN = "not known"
_AT_ONCE = 250_000  # pairs


def count_stored(workspace: Workspace, manifest: Mapping[str, Any]) -> dict[str, int] | None:
    """The number of pictures and captions of the kept pairs of a build, if all have features by its encoder; else None.

    None also for a build of more pairs than are looked through at once.
    """
    samples, encoder = BuildSamples(workspace, manifest), encoder_of(manifest)
    if manifest["samples"]["kept"] > _AT_ONCE:
        return None
    caption = "chosen_caption" if "chosen_caption" in samples.columns else "caption"
    rows = samples.read(["image_id", caption], samples.kept)
    ids, texts = (pc.unique(rows[name]) for name in ("image_id", caption))
    text_ids = pa.array([text_id(text) for text in texts.to_pylist()], pa.string())
    stores = ((FeatureStore(workspace, encoder, kind), names) for kind, names in (("images", ids), ("texts", text_ids)))
    return (
        None
        if any(store.missing(names) for store, names in stores)
        else {"images": len(ids), "images_new": 0, "texts": len(texts)}
    )


def count_devices(workspace: Workspace, manifest: Mapping[str, Any], encoder: str) -> dict[str, int]:
    """Counts of pictures of the kept pairs of a build that each device encoded for an encoder, by the device's name.

    UNKNOWN: of those that were stored before devices were kept.
    """
    samples = BuildSamples(workspace, manifest)
    kept = samples.batches(["image_id"], samples.kept)
    ids = pa.chunked_array([pc.unique(rows["image_id"]) for rows in kept], pa.string()).unique().drop_null()
    counts = FeatureStore(workspace, encoder, "images").devices(ids)
    return {name or UNKNOWN: count for name, count in counts.items()}
