"""Features of a build that are stored already, counted without the encoder that made them, and by the device."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.builds import encoder_of
from evenly.storage.feature_store import FeatureStore
from evenly.storage.samples import BuildSamples
from evenly.storage.workspace import Workspace
from evenly.tasks.encoders import text_id

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
