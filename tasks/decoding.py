"""Pictures decoded under a budget, in processes of their own: fingerprints of pairs, and pictures of folders."""

import base64
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.duplicates.fingerprints import (
    FINGERPRINT_VERSION,
    fingerprint,
    fingerprint_table,
    measure_fingerprint,
)
from evenly.features.errors import UnreadableImageError
from evenly.features.pictures.decoded import Resizer, decode_in_process, unreadable
from evenly.features.pictures.rgb import open_rgb
from evenly.storage.decoders import CRASHED, TROUBLES, DecoderPool, DecodeTroubleError
from evenly.storage.decoders.process import TOO_SLOW
from evenly.storage.decoders.structure import MAX_BYTES, MAX_PIXELS, excess
from evenly.storage.pools.local_rows import FEATURES
from evenly.storage.web.decoding import CheckedPicture, Measure, PictureChecks, sniff_format
from evenly.storage.web.images import read_images
from evenly.storage.web.measured import each_measured
from evenly.tasks.pictures.sent_rows import PicturePlaces, SentRows, send_measured, send_partitions, send_places
from evenly.tasks.run import Each, Records, Run

FINGERPRINT = Measure(fingerprint, FINGERPRINT_VERSION)
BATCH = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadPicture:
    """A picture that is no part of a build: why it cannot be read ("": it can), or the result that was wanted of it.

    That is its fingerprint, or its pixels (height, width, 3) in RGB.
    """

    error: str
    fingerprint: bytes | None = None
    pixels: npt.NDArray[np.uint8] | None = None


class PictureReader:
    """Reads pictures of folders and files in decoder processes, so that this one decodes none; use it in a `with`.

    It measures fingerprints; for an encoder that resizes by `resize` it gives pixels in place of these.
    """

    def __init__(self, run: Run, resize: Resizer | None = None) -> None:
        self._pool = DecoderPool(decode_in_process if resize else fingerprint_in_process, size=run.processes)
        self._options = {"max_pixels": MAX_PIXELS, "resize": resize}

    def read(self, pictures: Sequence[bytes]) -> Iterator[ReadPicture]:
        """The result of each picture, in order."""
        return self._pool.map(self.read_one, pictures)

    def read_one(self, data: bytes) -> ReadPicture:
        """The result of a picture; may be called from as many threads as there are processes."""
        if len(data) > MAX_BYTES:
            return ReadPicture(error=f"too_many_bytes ({len(data):,}, more than {MAX_BYTES:,})")
        kind = sniff_format(data)
        parts = excess(data, kind) if kind else None
        if parts:
            return ReadPicture(error=f"{TOO_SLOW} ({parts})")
        try:
            reply = self._pool.run(data, self._options)
        except DecodeTroubleError as trouble:
            return ReadPicture(error=f"{trouble.outcome} ({trouble.evidence})")
        if "outcome" in reply:
            return ReadPicture(error=f"{reply['outcome']} ({reply['evidence']})")
        if reply["error"] or not self._options["resize"]:
            value = reply.get("fingerprint")
            return ReadPicture(error=reply["error"], fingerprint=None if value is None else base64.b64decode(value))
        return _with_pixels(reply)

    def pixels(self, pictures: Sequence[bytes], field: str) -> Iterator[npt.NDArray[np.uint8]]:
        """The pixels of pictures, each of which must be one. Raises UnreadableImageError, which names `field`."""
        for number, picture in enumerate(self.read(pictures)):
            if picture.pixels is None:
                raise UnreadableImageError(
                    f"`{field}` must be pictures that decode within the limits of downloads; got {picture.error} of "
                    f"number {number + 1}. Scale it down, or leave it out."
                )
            yield picture.pixels

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()


def _with_pixels(reply: dict[str, Any]) -> ReadPicture:
    """The pixels of a reply, whose sides a decoder that was taken over may have made up."""
    try:
        height, width, _ = reply["shape"]
        return ReadPicture(error="", pixels=reply["bytes"].reshape(height, width, 3))
    except (KeyError, TypeError, ValueError):
        return ReadPicture(error=f"{CRASHED} (its reply holds no picture)")


def fingerprint_in_process(data: bytes, _options: dict[str, Any]) -> dict[str, Any]:
    """A decoder process's job: `error`, or the `fingerprint` of a picture that decodes as encoders have it."""
    try:
        open_rgb(data)
    except UnreadableImageError as error:
        return unreadable(error)
    value = measure_fingerprint(data)
    return {"error": "", "fingerprint": None if value is None else base64.b64encode(value).decode("ascii")}


def fingerprints_of(
    run: Run, ids: pa.Array, stored: pa.Table, places: PicturePlaces
) -> tuple[pa.Table, dict[str, str]]:
    """A row per picture, whose bytes are there: image_id, and what measure_fingerprints gives; and reasons by image_id.

    stored: [image_id, value] of those that were measured when they were checked, as most were. Those that were not are
    decoded now; one that exceeds its budget has nulls and a reason.
    """
    known_ids = stored["image_id"].combine_chunks()
    tables = [fingerprint_table([]).append_column("image_id", pa.array([], pa.string()))]
    reasons: dict[str, str] = {}
    unmeasured = ids.filter(pc.invert(pc.is_in(ids, known_ids)))
    located = places.of(run, unmeasured) if len(unmeasured) else None
    checks = PictureChecks(max_pixels=sys.maxsize, measure=FINGERPRINT, processes=run.processes)
    with checks, run.progress.bar("fingerprints", len(unmeasured)) as advance:
        for start in range(0, len(ids), BATCH):
            batch = ids.slice(start, BATCH)
            values = stored["value"].take(pc.index_in(batch, known_ids)).to_pylist()
            new = [place for place, is_known in enumerate(pc.is_in(batch, known_ids).to_pylist()) if not is_known]
            names = [batch[place].as_py() for place in new]
            pictures = list(read_images(run.workspace.downloads, names, located)) if names else []
            for place, name, checked in zip(new, names, checks.check_all(pictures), strict=True):
                if isinstance(checked, CheckedPicture):
                    values[place] = checked.measured
                elif checked.outcome in TROUBLES:
                    reasons[name] = checked.outcome
            tables.append(fingerprint_table(values).append_column("image_id", batch))
            advance(len(new))
    return pa.concat_tables(tables), reasons


TROUBLE = "trouble"
"""The column with the reason why a picture has no fingerprint, null where it has one."""


def send_fingerprints(run: Run, engine: Each, upstream: Records) -> SentRows:
    """Of each pair whose picture has bytes: uid, fingerprint and TROUBLE, by uid."""
    with (
        send_partitions(run, engine, "sorting pictures", "image_id", partial(pictures_with_bytes, upstream)) as shown,
        send_measured(run, engine, FINGERPRINT.name) as measured,
    ):
        unmeasured = sum(engine.partitions("looking for fingerprints", partial(_count_unmeasured, shown, measured)))
        with send_places(run, engine) if unmeasured else PicturePlaces() as places:
            return send_partitions(run, engine, "fingerprints", "uid", partial(_of_pairs, shown, measured, places))


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
