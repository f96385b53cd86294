"""Extract features: each picture and caption is encoded once per encoder, and stored."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.curation import collecting
from evenly.curation.decisions import Decisions
from evenly.curation.step import NoRule
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import (
    encode_texts,
    encoder_identity,
    say_longer,
    step_encoder,
)
from evenly.tasks.engine import InProcess
from evenly.tasks.pictures.encoded import store_images
from evenly.tasks.pictures.sent_rows import PictureSources, SentRows, send_partitions, send_sources
from evenly.tasks.run import Each, Records, Run, with_model
from evenly.tasks.server.api import part
from evenly.tasks.step import Exchanged, Step, note_counts


@dataclass(frozen=True, kw_only=True)
class ShownPictures(Exchanged):
    """The pictures of the pairs by image_id, and what features are made of where some are still to be made."""

    pictures: SentRows
    sources: PictureSources


def send_pictures(run: Run, upstream: Records, _rule: NoRule, engine: Each) -> ShownPictures:
    """The pictures of the pairs, and what their features are made of."""
    pictures = send_partitions(run, engine, "sorting pictures", "image_id", partial(_distinct_pictures, upstream))
    try:
        missing = sum(engine.partitions("looking up features", partial(_count_missing, pictures)))
        return ShownPictures(pictures=pictures, sources=send_sources(run, engine) if missing else PictureSources())
    except BaseException:
        pictures.release()
        raise


@with_model
def embed_images(run: Run, upstream: Records, _rule: NoRule, shown: ShownPictures) -> StepOutput:
    """Encode the pictures of the pairs; table `features` holds a digest of each vector, for the steps that use it.

    In partitions, a pair's decision and the digest of its picture lie each in that of its own id.
    """
    pairs = run.ledger.alive(upstream, [])
    ids = shown.pictures.of(run)["image_id"].combine_chunks().unique().sort()
    store_images(run, ids, shown.sources)
    digests, norms = np.zeros(len(ids), "S32"), np.empty(len(ids), np.float32)
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    for places, vectors, part_norms in store.batches(ids) if len(ids) else ():
        digests[places] = [hashlib.blake2b(row, digest_size=16).hexdigest().encode() for row in vectors]
        norms[places] = part_norms
    table = pa.table({"image_id": ids, "digest": pa.array(digests).cast(pa.string()), "norm": norms})
    devices = store.devices(ids)
    columns = pa.array(list(devices), pa.string()), pa.array(list(devices.values()), pa.int64())
    partial = pa.table(columns, names=["device", "pictures"])
    decisions = Decisions.keep_all(pairs.num_rows).to_table(pairs["uid"])
    return StepOutput(decisions=decisions, tables={"features": table}, partial=partial)


def _distinct_pictures(upstream: Records, run: Run) -> pa.Table:
    return pa.table({"image_id": run.ledger.alive(upstream, ["image_id"])["image_id"].combine_chunks().unique()})


def _count_missing(pictures: SentRows, run: Run) -> int:
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    return len(store.missing(pictures.of(run)["image_id"].combine_chunks()))


@part("extract features")
def extract_features(run: Run, manifest: Mapping[str, Any], engine: Each | None = None) -> dict[str, Any]:
    """Make sure that every kept pair of a build has image and caption features; how many there are and were new."""
    return _encode(run, [run.ledger.get(step["key"]) for step in manifest["steps"]], engine)


@part("encode pairs")
def encode_pairs(run: Run, records: Records, engine: Each | None = None) -> dict[str, Any]:
    """The same for the pairs that all steps of `records` kept, before they are published."""
    return _encode(run, records, engine)


def _encode(run: Run, records: Records, engine: Each | None) -> dict[str, Any]:
    encoder = encoder_identity(run)  # first: workers are told it
    engine = engine or InProcess(run=run)
    with send_pictures(run, records, NoRule(), engine) as shown:
        images = engine.partitions("extracting features", partial(_store_pictures, shown))
    with send_partitions(run, engine, "sorting captions", "text_id", partial(_captions, records)) as captions:
        texts = engine.partitions("encoding captions", partial(_store_captions, captions))
    say_longer(run, sum(longer for _, _, longer in texts), sum(new for _, new, _ in texts))
    return {
        "encoder": encoder,
        "images": sum(count for count, _ in images),
        "images_new": sum(new for _, new in images),
        "texts": sum(count for count, _, _ in texts),
    }


@with_model
def _store_pictures(shown: ShownPictures, run: Run) -> tuple[int, int]:
    """Counts of a partition's pictures, and of those that had no features."""
    ids = shown.pictures.of(run)["image_id"].combine_chunks().unique().sort()
    return len(ids), store_images(run, ids, shown.sources)


def _captions(records: Records, run: Run) -> pa.Table:
    caption = "chosen_caption" if any("chosen_caption" in record.columns for record in records) else "caption"
    texts = run.ledger.alive(records, [caption])[caption].combine_chunks().unique()
    return pa.table({"text_id": pa.array([text_id(text) for text in texts.to_pylist()], pa.string()), "text": texts})


@with_model
def _store_captions(captions: SentRows, run: Run) -> tuple[int, int, int]:
    """Counts of a partition's texts, of those that had no features, and of these the ones longer than is read."""
    texts = captions.of(run)["text"].combine_chunks().unique().to_pylist()
    return (len(texts), *encode_texts(run, texts))


EMBED_IMAGES = Step(
    name=collecting.EMBED_IMAGES.name,
    rule=NoRule,
    resolve=send_pictures,
    judge=embed_images,
    finish=partial(note_counts, "devices"),
    model=step_encoder,
)
