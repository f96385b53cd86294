"""Merge pairs that are the same: by bytes, by looks, by features, by features and text, by captions."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Ints, Words
from evenly.curation.duplicates.caption_duplicates import CaptionTwins, deduplicate_captions
from evenly.curation.duplicates.image_duplicates import (
    Perceptual,
    Semantic,
    deduplicate_exact,
    deduplicate_perceptual,
    deduplicate_semantic,
)
from evenly.curation.duplicates.incremental import PreviousSearch
from evenly.curation.duplicates.merging import CAPTIONS, Duplicates, captions_taken_over, last_survivors
from evenly.curation.duplicates.record_linkage import Linked, deduplicate_linked
from evenly.curation.duplicates.sketches import VERSION, sign_codes
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.storage.tables.row_store import RowStore
from evenly.tasks.encoders import encoder_identity, step_encoder, text_rows
from evenly.tasks.pictures.encoded import image_rows
from evenly.tasks.rebuild.duplicates.answers import duplicate_moves
from evenly.tasks.rebuild.duplicates.captions import Captions
from evenly.tasks.rebuild.duplicates.exact import Exact
from evenly.tasks.rebuild.duplicates.feature_rows import PictureFeatures, RecordFeatures
from evenly.tasks.rebuild.duplicates.kinds import pairs_to_compare
from evenly.tasks.rebuild.duplicates.looks import Looks
from evenly.tasks.row_reuse import Reusable
from evenly.tasks.run import Run
from evenly.tasks.step import NoRule, Records, Step


def _output(
    run: Run,
    upstream: Records,
    merge: Callable[[pa.Table, PreviousSearch | None], Duplicates],
    reusable: Reusable | None = None,
    *,
    looks: Sequence[str] = (),
) -> StepOutput:
    """What `merge` decides of the pairs, knowing what an earlier run found.

    Tables: `edges`; `captions`, those that survivors take over from merged pairs; `compared`, where recall is measured.
    """
    batch = pairs_to_compare(run, upstream, looks)
    duplicates = merge(batch, None if reusable is None else _earlier(run, reusable))
    earlier_captions = [run.ledger.table(record, "captions") for record in upstream if "captions" in record.hashes]
    captions = captions_taken_over(
        batch, duplicates.decisions, pa.concat_tables([CAPTIONS.empty_table(), *earlier_captions])
    )
    return StepOutput(
        decisions=duplicates.decisions.to_table(batch["uid"]),
        tables={"edges": duplicates.edges, "captions": captions}
        | ({} if duplicates.compared is None else {"compared": duplicates.compared}),
        notes=duplicates.notes,
    )


def merged_pairs(run: Run, records: Records) -> pa.Table:
    """The pairs that these steps merged [uid, survivor]: which pair each ended in, after all of them."""
    where = pc.field("verdict") == "merged"
    tables = [run.ledger.decisions(record, ["uid", "into"], where) for record in records if record.counts.get("merged")]
    empty = pa.table({name: pa.array([], pa.string()) for name in ("uid", "into")})
    merged = pa.concat_tables([empty, *tables])
    return pa.table({"uid": merged["uid"], "survivor": last_survivors(merged)})


def _earlier(run: Run, reusable: Reusable) -> PreviousSearch:
    record = reusable.record
    compared = run.ledger.table(record, "compared") if "compared" in record.hashes else None
    return PreviousSearch(unchanged=reusable.same, edges=run.ledger.table(record, "edges"), compared=compared)


def merge_exact(run: Run, upstream: Records, _rule: NoRule) -> StepOutput:
    """Merge pairs with equal bytes."""
    return _output(run, upstream, lambda batch, _: deduplicate_exact(batch))


def merge_perceptual(run: Run, upstream: Records, rule: Perceptual) -> StepOutput:
    """Merge pairs whose pictures look alike."""
    return _output(run, upstream, lambda batch, _: deduplicate_perceptual(batch, rule), looks=("phash", "colour"))


def merge_semantic(run: Run, upstream: Records, rule: Semantic, reusable: Reusable | None = None) -> StepOutput:
    """Merge pairs whose features nearly agree."""
    store = FeatureStore(run.workspace, encoder_identity(run), "images")

    def merge(batch: pa.Table, earlier: PreviousSearch | None) -> Duplicates:
        ids = batch["image_id"].combine_chunks()
        rows = image_rows(run, store, ids.to_pylist())
        sketch = partial(_stored_codes, run, ids, rows)
        return deduplicate_semantic(batch, rows, rule, seed=run.seed, earlier=earlier, sketch=sketch)

    return _output(run, upstream, merge, reusable, looks=() if rule.max_colour is None else ("colour",))


def _stored_codes(run: Run, image_ids: pa.Array, rows: npt.NDArray[np.float16], places: Ints, key: str) -> Words:
    """The codes of the pictures at `places` of features `rows`; what is not stored is computed and stored."""
    kind = f"codes-{content_hash([key, VERSION])[:16]}"
    store = RowStore(run.workspace, encoder_identity(run), kind)
    ids = image_ids.take(pa.array(places))
    missing = store.missing(ids)
    codes = sign_codes(rows, places[pc.index_in(missing, ids).to_numpy()], key=key)
    store.append(missing, codes)
    return store.read(ids).astype(np.uint64, copy=False) if len(ids) else codes


def merge_linked(run: Run, upstream: Records, rule: Linked, reusable: Reusable | None = None) -> StepOutput:
    """Merge pairs that are one record by picture and caption together."""
    store = FeatureStore(run.workspace, encoder_identity(run), "images")

    def merge(batch: pa.Table, earlier: PreviousSearch | None) -> Duplicates:
        images = image_rows(run, store, batch["image_id"].to_pylist())
        texts = text_rows(run, batch["caption"].to_pylist())
        return deduplicate_linked(batch, images, texts, rule, seed=run.seed, earlier=earlier)

    return _output(run, upstream, merge, reusable)


def merge_captions(run: Run, upstream: Records, rule: CaptionTwins, reusable: Reusable | None = None) -> StepOutput:
    """Merge pairs whose captions nearly agree."""

    def merge(batch: pa.Table, earlier: PreviousSearch | None) -> Duplicates:
        return deduplicate_captions(batch, rule, seed=run.seed, earlier=earlier)

    return _output(run, upstream, merge, reusable)


def _exact(_run: Run, _rule: NoRule) -> Exact:
    return Exact()


def _looks(_run: Run, rule: Perceptual) -> Looks:
    return Looks(rule=rule)


def _semantic(run: Run, rule: Semantic) -> PictureFeatures:
    return PictureFeatures(rule=rule, seed=run.seed)


def _linked(run: Run, rule: Linked) -> RecordFeatures:
    return RecordFeatures(rule=rule, seed=run.seed)


def _captions(run: Run, rule: CaptionTwins) -> Captions:
    return Captions(rule=rule, seed=run.seed)


DEDUPLICATE_EXACT = Step(
    name="deduplicate_exact", rule=NoRule, compute=merge_exact, moves=duplicate_moves(_exact), version=2
)
DEDUPLICATE_PERCEPTUAL = Step(
    name="deduplicate_perceptual",
    rule=Perceptual,
    compute=merge_perceptual,
    moves=duplicate_moves(_looks),
    version=3,
)
DEDUPLICATE_SEMANTIC = Step(
    name="deduplicate_semantic",
    rule=Semantic,
    compute=merge_semantic,
    moves=duplicate_moves(_semantic),
    version=3,
    model=step_encoder,
    seeded=True,
    resume=merge_semantic,
)
DEDUPLICATE_LINKED = Step(
    name="deduplicate_linked",
    rule=Linked,
    compute=merge_linked,
    moves=duplicate_moves(_linked),
    version=2,
    model=step_encoder,
    seeded=True,
    resume=merge_linked,
)
DEDUPLICATE_CAPTIONS = Step(
    name="deduplicate_captions",
    rule=CaptionTwins,
    compute=merge_captions,
    moves=duplicate_moves(_captions),
    version=2,
    seeded=True,
    resume=merge_captions,
)
