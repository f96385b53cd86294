"""Merge pairs that are the same: by bytes, by looks, by features, by features and text, by captions."""

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.duplicates import judgement
from evenly.curation.duplicates.caption_duplicates import Captions, CaptionTwins
from evenly.curation.duplicates.feature_duplicates import PictureFeatures, Semantic
from evenly.curation.duplicates.image_duplicates import Exact, Looks, Perceptual
from evenly.curation.duplicates.merging import last_survivors
from evenly.curation.duplicates.record_linkage import Linked, RecordFeatures
from evenly.curation.step import NoRule
from evenly.storage.ledger import Ledger
from evenly.tasks.encoders import step_encoder
from evenly.tasks.rebuild.duplicates.answers import merging
from evenly.tasks.rebuild.duplicates.features import OF_PICTURES, OF_RECORDS
from evenly.tasks.run import Records
from evenly.tasks.step import Step


def merged_pairs(ledger: Ledger, records: Records) -> pa.Table:
    """The pairs that these steps merged [uid, survivor]: which pair each ended in, after all of them."""
    is_merged = pc.field("verdict") == "merged"
    tables = [ledger.decisions(record, ["uid", "into"], is_merged) for record in records if record.counts.get("merged")]
    empty = pa.table({name: pa.array([], pa.string()) for name in ("uid", "into")})
    merged = pa.concat_tables([empty, *tables])
    return pa.table({"uid": merged["uid"], "survivor": last_survivors(merged)})


DEDUPLICATE_EXACT = Step(name=judgement.DEDUPLICATE_EXACT.name, rule=NoRule, **merging(Exact), version=2)
DEDUPLICATE_PERCEPTUAL = Step(
    name=judgement.DEDUPLICATE_PERCEPTUAL.name,
    rule=Perceptual,
    **merging(Looks),
    version=3,
)
DEDUPLICATE_SEMANTIC = Step(
    name=judgement.DEDUPLICATE_SEMANTIC.name,
    rule=Semantic,
    **merging(PictureFeatures, OF_PICTURES),
    version=3,
    model=step_encoder,
    seeded=True,
)
DEDUPLICATE_LINKED = Step(
    name=judgement.DEDUPLICATE_LINKED.name,
    rule=Linked,
    **merging(RecordFeatures, OF_RECORDS),
    version=2,
    model=step_encoder,
    seeded=True,
)
DEDUPLICATE_CAPTIONS = Step(
    name=judgement.DEDUPLICATE_CAPTIONS.name,
    rule=CaptionTwins,
    **merging(Captions),
    version=2,
    seeded=True,
)
