"""Pairs with real pictures on the real ledger, and an encoder that sees mean colours."""

import hashlib
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from evenly.curation.decisions import Decisions
from evenly.curation.duplicates.fingerprints import measure_fingerprints
from evenly.features import to_unit_rows
from evenly.features.pictures.rgb import open_rgb
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput, StepRecord
from evenly.storage.records import content_hash
from evenly.tasks.run import Run
from evenly.tasks.step import Step
from tests.step_outputs import output_of


class ColourEncoder:
    """Pictures as their mean colour."""

    identity = "mean colour"
    device_name = "a machine"
    dimension = 3

    def encode_images(self, images, *, progress=None):  # noqa: ARG002 - the shape of an encoder
        opened = [open_rgb(one) if isinstance(one, bytes) else one for one in images]
        return np.array([np.asarray(one).reshape(-1, 3).mean(axis=0) + 1 for one in opened]).reshape(-1, 3)


def picture(colour, *, pattern=0, size=(64, 48), kind="PNG", **options) -> bytes:
    """Soft light and shade over `colour`, another for each `pattern`."""
    shade = np.random.default_rng(pattern).integers(90, 256, (5, 5), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(shade).resize((96, 96), Image.Resampling.BICUBIC), dtype=np.float64)
    drawn = Image.fromarray((smooth[:, :, None] / 255 * np.array(colour)).astype(np.uint8))
    stream = io.BytesIO()
    drawn.resize(size).save(stream, kind, **options)
    return stream.getvalue()


def pool_record(run: Run, pictures: dict[str, bytes], *, step: str = "embed_images", **columns: list) -> StepRecord:
    """The record of a step that gave a pair per picture, by uid, with what `check_images` and `embed_images` give."""
    uids, contents = sorted(pictures), [pictures[uid] for uid in sorted(pictures)]
    ids = [hashlib.sha256(content).hexdigest() for content in contents]
    decisions = Decisions.keep_all(len(uids)).to_table(pa.array(uids)).append_column("image_id", pa.array(ids))
    prints = measure_fingerprints(contents)
    for name in prints.column_names:
        decisions = decisions.append_column(name, prints[name])
    for name, values in columns.items():
        decisions = decisions.append_column(name, pa.array(values))
    store = FeatureStore(run.workspace, ColourEncoder.identity, "images")
    missing = store.missing(ids)
    if missing:
        rows = ColourEncoder().encode_images([contents[ids.index(image_id)] for image_id in missing])
        store.append(missing, *to_unit_rows(rows))
    output = StepOutput(decisions=decisions, tables={"features": pa.table({"image_id": sorted(set(ids))})})
    given = plain_step(step, lambda *_: output)
    return commit(run, given, [], {"pool": content_hash([ids, columns])})


def plain_step(name: str, compute: Callable[..., StepOutput]) -> Step[Any]:
    """A step whose rule is a dict, stored as it is."""
    return Step(name=name, rule=dict, stored=dict, load=dict, judge=compute)


def commit(run: Run, step: Step, records: list[StepRecord], stored: dict) -> StepRecord:
    rule = step.read(stored)
    output = output_of(step, run, records, rule)
    judges = records and output.decisions is not None
    uids = run.ledger.alive(records, [])["uid"].combine_chunks() if judges else None
    return run.ledger.commit(step.spec(run, records, rule), output, uids=uids, started=datetime.now(UTC))
