"""Merge pairs whose pictures are the same: by bytes, by looks, by features."""

from collections.abc import Callable

import pyarrow as pa

from curation.deduplicate import (
    Perceptual,
    Semantic,
    deduplicate_exact,
    deduplicate_perceptual,
    deduplicate_semantic,
)
from curation.merging import Duplicates
from storage.feature_store import FeatureStore
from storage.ledger import StepOutput
from tasks.encoders import encoder_identity, encoder_of
from tasks.run import Run
from tasks.step import Records, Rule, Step

COLUMNS = ("url", "image_id", "width", "height", "phash", "colour")


def _output(run: Run, before: Records, merge: Callable[[pa.Table], Duplicates]) -> StepOutput:
    batch = run.ledger.alive(before, COLUMNS)
    found = merge(batch)
    return StepOutput(
        decisions=found.decisions.to_table(batch["uid"]), tables={"edges": found.edges}, notes=found.notes
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


DEDUPLICATE_EXACT = Step(name="deduplicate_exact", compute=merge_exact, version=2)
DEDUPLICATE_PERCEPTUAL = Step(name="deduplicate_perceptual", compute=merge_perceptual, version=2)
DEDUPLICATE_SEMANTIC = Step(
    name="deduplicate_semantic", compute=merge_semantic, version=2, model=encoder_of, seeded=True
)
