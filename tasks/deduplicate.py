"""Merge pairs that are the same: by bytes, by looks, by features, by features and text, by captions."""

from collections.abc import Callable

import pyarrow as pa

from curation.caption_twins import CaptionTwins, deduplicate_captions
from curation.deduplicate import (
    Perceptual,
    Semantic,
    deduplicate_exact,
    deduplicate_perceptual,
    deduplicate_semantic,
)
from curation.linking import Linked, deduplicate_linked
from curation.merging import CAPTIONS, Duplicates, captions_taken_over
from storage.feature_store import FeatureStore
from storage.ledger import StepOutput
from tasks.encoders import encoder_identity, encoder_of, text_rows
from tasks.run import Run
from tasks.step import Records, Rule, Step

COLUMNS = ("url", "caption", "image_id", "width", "height", "phash", "colour")


def _output(run: Run, before: Records, merge: Callable[[pa.Table], Duplicates]) -> StepOutput:
    """What `merge` decides of the pairs; table `captions` holds those that survivors take over from merged pairs."""
    batch = run.ledger.alive(before, COLUMNS)
    found = merge(batch)
    held = [run.ledger.table(record, "captions") for record in before if "captions" in record.hashes]
    captions = captions_taken_over(batch, found.decisions, pa.concat_tables([CAPTIONS.empty_table(), *held]))
    return StepOutput(
        decisions=found.decisions.to_table(batch["uid"]),
        tables={"edges": found.edges, "captions": captions},
        notes=found.notes,
    )


def merge_exact(run: Run, before: Records, _rule: Rule) -> StepOutput:
    """Merge pairs with equal bytes."""
    return _output(run, before, deduplicate_exact)


def merge_perceptual(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Merge pairs whose pictures look alike."""
    return _output(run, before, lambda batch: deduplicate_perceptual(batch, Perceptual(**rule)))


def merge_semantic(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Merge pairs whose features nearly agree."""
    store = FeatureStore(run.workspace, encoder_identity(run), "images")

    def merge(batch: pa.Table) -> Duplicates:
        rows, _ = store.read(batch["image_id"].to_pylist())
        return deduplicate_semantic(batch, rows, Semantic(**rule), seed=run.seed)

    return _output(run, before, merge)


def merge_linked(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Merge pairs that are one record by picture and caption together."""
    store = FeatureStore(run.workspace, encoder_identity(run), "images")

    def merge(batch: pa.Table) -> Duplicates:
        images, _ = store.read(batch["image_id"].to_pylist())
        texts = text_rows(run, batch["caption"].to_pylist())
        return deduplicate_linked(batch, images, texts, Linked(**rule), seed=run.seed)

    return _output(run, before, merge)


def merge_captions(run: Run, before: Records, rule: Rule) -> StepOutput:
    """Merge pairs whose captions nearly agree."""
    return _output(run, before, lambda batch: deduplicate_captions(batch, CaptionTwins(**rule), seed=run.seed))


DEDUPLICATE_EXACT = Step(name="deduplicate_exact", compute=merge_exact, version=2)
DEDUPLICATE_PERCEPTUAL = Step(name="deduplicate_perceptual", compute=merge_perceptual, version=2)
DEDUPLICATE_SEMANTIC = Step(
    name="deduplicate_semantic", compute=merge_semantic, version=2, model=encoder_of, seeded=True
)
DEDUPLICATE_LINKED = Step(name="deduplicate_linked", compute=merge_linked, model=encoder_of, seeded=True)
DEDUPLICATE_CAPTIONS = Step(name="deduplicate_captions", compute=merge_captions, seeded=True)
