"""Extract features: each picture and caption is encoded once per encoder, and stored."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from evenly.curation.decisions import Decisions
from evenly.features import to_unit_rows
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.storage.pools.source import FEATURES_KIND, PoolError, local_features
from evenly.storage.samples import Samples
from evenly.storage.web import read_images
from evenly.tasks.encoders import CHUNK, encoder_identity, open_encoder, step_encoder, store_texts
from evenly.tasks.run import Run
from evenly.tasks.step import NoRule, Records, Step


def embed_images(run: Run, upstream: Records, _rule: NoRule) -> StepOutput:
    """Encode the pictures of the pairs; table `features` holds a digest of each vector, for the steps that use it."""
    pairs = run.ledger.alive(upstream, ["image_id"])
    ids = pairs["image_id"].combine_chunks().unique().sort()
    store_images(run, ids)
    digests, norms = np.zeros(len(ids), "S32"), np.empty(len(ids), np.float32)
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    for places, vectors, part_norms in store.batches(ids):
        digests[places] = [hashlib.blake2b(row, digest_size=16).hexdigest().encode() for row in vectors]
        norms[places] = part_norms
    table = pa.table({"image_id": ids, "digest": pa.array(digests).cast(pa.string()), "norm": norms})
    decisions = Decisions.keep_all(pairs.num_rows).to_table(pairs["uid"])
    return StepOutput(decisions=decisions, tables={"features": table})


def store_images(run: Run, image_ids: Sequence[str] | pa.Array) -> int:
    """Encode and store the pictures that have no features yet; how many there were."""
    encoder = open_encoder(run)
    store = FeatureStore(run.workspace, encoder.identity, "images")
    missing = store.missing(image_ids)
    if missing and any(source.kind == FEATURES_KIND for source in run.sources):
        _take_features(run, store, encoder.dimension, set(missing))
        missing = store.missing(missing)
    with run.progress.bar("encoding pictures", len(missing)) as advance:
        for start in range(0, len(missing), CHUNK):
            batch = missing[start : start + CHUNK]
            images = list(read_images(run.workspace.downloads, batch))
            store.append(batch, *to_unit_rows(encoder.encode_images(images, progress=advance)))
    return len(missing)


def image_rows(run: Run, store: FeatureStore, image_ids: list[str]) -> np.ndarray:
    """The unit rows (n, d) float16 of pictures, in the order given; those that are stored no more are encoded again."""
    if store.missing(image_ids):
        store_images(run, sorted(set(image_ids)))
    return store.read(image_ids)[0]


def _take_features(run: Run, store: FeatureStore, dimension: int, wanted: set[str]) -> None:
    """Store what pools of features hold of the pictures `wanted`, whose ids are hashes of these features."""
    for source in run.sources:
        for rows in local_features(source) if wanted else ():
            if rows.vectors.shape[1] != dimension:
                raise PoolError(
                    f"`vector` must be features of the recipe's encoder, of {dimension} numbers; got "
                    f"{rows.vectors.shape[1]} in `{source.path}`. Name the encoder that made them in `features`."
                )
            places = {image_id: place for place, image_id in enumerate(rows.ids.to_pylist()) if image_id in wanted}
            store.append(list(places), *to_unit_rows(rows.vectors[list(places.values())]))
            wanted -= set(places)


@task(task_run_name="extract features", cache_policy=NO_CACHE, persist_result=False)
def extract_features(run: Run, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Make sure that every kept pair of a build has image and caption features; how many there are and were new."""
    samples = Samples(run.workspace, manifest["recipe_name"])
    condition = f"{manifest['samples']['last']}_verdict = 'kept'"
    rows = samples.read(manifest["samples"]["version"], where=condition)
    caption = "chosen_caption" if "chosen_caption" in rows.column_names else "caption"
    texts = pc.unique(rows[caption]).to_pylist()
    ids = rows["image_id"].combine_chunks().unique().sort()
    n_new = store_images(run, ids)
    store_texts(run, texts)
    return {"encoder": encoder_identity(run), "images": len(ids), "images_new": n_new, "texts": len(texts)}


EMBED_IMAGES = Step(name="embed_images", rule=NoRule, compute=embed_images, model=step_encoder)
