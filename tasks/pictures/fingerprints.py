"""Fingerprints of the pictures of pairs: made of each picture where its pairs meet, returned to each of them."""

from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.pools.local_rows import FEATURES
from evenly.storage.web.measured import each_measured
from evenly.tasks.decoding import FINGERPRINT, fingerprints_of
from evenly.tasks.pictures.sent_rows import PicturePlaces, SentRows, send_measured, send_partitions, send_places
from evenly.tasks.run import Each, Records, Run

TROUBLE = "trouble"
"""The column with the reason why a picture has no fingerprint, null where it has one."""


def send_fingerprints(run: Run, each: Each, upstream: Records) -> SentRows:
    """Of each pair whose picture has bytes: uid, fingerprint and TROUBLE, by uid."""
    with (
        send_partitions(run, each, "sorting pictures", "image_id", partial(pictures_with_bytes, upstream)) as shown,
        send_measured(run, each, FINGERPRINT.name) as measured,
    ):
        unmeasured = sum(each.partitions("looking for fingerprints", partial(_count_unmeasured, shown, measured)))
        with send_places(run, each) if unmeasured else PicturePlaces() as places:
            return send_partitions(run, each, "fingerprints", "uid", partial(_of_pairs, shown, measured, places))


def read_fingerprints(run: Run, shown: pa.Table) -> pa.Table:
    """The rows of `send_fingerprints` for pairs [uid, image_id] whose picture has bytes, where nothing is sent."""
    ids = shown["image_id"].combine_chunks().unique()
    tables = each_measured(run.workspace.downloads, FINGERPRINT.name)
    measured = pa.concat_tables([table.filter(pc.is_in(table["image_id"], ids)) for table in tables])
    return _fingerprinted(run, shown, measured, PicturePlaces())


def pictures_with_bytes(upstream: Records, run: Run) -> pa.Table:
    """Pairs [uid, image_id] whose picture is there, not its features alone."""
    pairs = run.ledger.alive(upstream, ["image_id", "url"])
    return pairs.filter(pc.invert(pc.starts_with(pairs["url"], FEATURES))).select(["uid", "image_id"])


def _count_unmeasured(shown: SentRows, measured: SentRows, run: Run) -> int:
    is_measured = pc.is_in(shown.of(run)["image_id"], measured.of(run)["image_id"].combine_chunks())
    return len(is_measured) - (pc.sum(is_measured).as_py() or 0)


def _of_pairs(shown: SentRows, measured: SentRows, places: PicturePlaces, run: Run) -> pa.Table:
    return _fingerprinted(run, shown.of(run), measured.of(run), places)


def _fingerprinted(run: Run, shown: pa.Table, measured: pa.Table, places: PicturePlaces) -> pa.Table:
    ids = shown["image_id"].combine_chunks()
    prints, reasons = fingerprints_of(run, ids.unique(), measured, places)
    rows = prints.take(pc.index_in(ids, prints["image_id"].combine_chunks())).drop(["image_id"])
    words = pa.array(list(reasons.values()), pa.string())
    troubles = words.take(pc.index_in(ids, pa.array(list(reasons), pa.string())))
    return rows.append_column("uid", shown["uid"]).append_column(TROUBLE, troubles)
