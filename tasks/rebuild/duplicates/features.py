"""The features that kinds of duplicates compare: of pictures, whose codes are kept, and of pictures and captions."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Words, column
from evenly.curation.duplicates.feature_duplicates import PictureFeatures
from evenly.curation.duplicates.record_linkage import Linked, mix
from evenly.curation.duplicates.sketches import VERSION
from evenly.storage.feature_store import RowStore
from evenly.storage.records import content_hash
from evenly.tasks.encoders import encoder_identity, store_texts, text_rows
from evenly.tasks.engine import InProcess
from evenly.tasks.pictures.encoded import rows_of_pictures
from evenly.tasks.rebuild.duplicates.pair_search import ComparedFeatures, Rows
from evenly.tasks.run import Records, Run

Halves = npt.NDArray[np.float16]


def _picture_rows(run: Run, pairs: pa.Table, _rule: object) -> Halves:
    return rows_of_pictures(run, column(pairs, "image_id", pa.string()).to_pylist())


def _kept_codes(run: Run, kind: PictureFeatures, files: Rows, rows: Words) -> Words:
    """Codes that are stored are read, others stored; not by several partitions, as one may write."""
    if run.bits:
        return kind.codes(files, rows)
    store = RowStore(run.workspace, encoder_identity(run), f"codes-{content_hash([kind.key, VERSION])[:16]}")
    ids = files.column("image", rows)
    missing = store.missing(ids)
    codes = kind.codes(files, rows[pc.index_in(missing, ids).to_numpy()])
    store.append(missing, codes)
    return store.read(ids).astype(np.uint64, copy=False) if len(ids) else codes


def _record_rows(run: Run, pairs: pa.Table, rule: Linked) -> Halves:
    return mix(_picture_rows(run, pairs, rule), text_rows(run, _captions(pairs)), weight=rule.weight)


def _store_captions(run: Run, upstream: Records) -> None:
    """Encode the captions that have no features yet, one partition after the other: the store has one writer."""

    def encode(part_run: Run) -> None:
        store_texts(part_run, _captions(part_run.ledger.alive(upstream, ["caption"])))

    InProcess(run=run).partitions("encoding captions", encode)


def _captions(pairs: pa.Table) -> list[str]:
    captions: list[str] = column(pairs, "caption", pa.string()).to_pylist()
    return captions


OF_PICTURES = ComparedFeatures(rows=_picture_rows, codes=_kept_codes)
OF_RECORDS = ComparedFeatures(rows=_record_rows, prepare=_store_captions)
