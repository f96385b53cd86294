"""Pictures decoded under a budget, in processes of their own: a build's fingerprints, and those of folders."""

import base64
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from evenly.curation.duplicates.fingerprints import (
    FINGERPRINT_VERSION,
    fingerprint,
    fingerprint_table,
    measure_fingerprint,
)
from evenly.features.errors import UnreadableImageError
from evenly.features.pictures.rgb import open_rgb
from evenly.storage.decoders import TROUBLES, DecoderPool, DecodeTroubleError
from evenly.storage.decoders.structure import excess
from evenly.storage.web import Measure, PictureChecks, find_places, read_images
from evenly.storage.web.decoding import CheckedPicture, sniff_format
from evenly.tasks.run import Run

FINGERPRINT = Measure(fingerprint, FINGERPRINT_VERSION)
BATCH = 256


@dataclass(frozen=True, kw_only=True)
class ReadPicture:
    """What a picture that is no part of a build gave: why it cannot be read ("": it can), and its fingerprint."""

    error: str
    fingerprint: bytes | None


class PictureReader:
    """Reads pictures of folders and files before anything else decodes them; use it in a `with`."""

    def __init__(self, run: Run) -> None:
        self._pool = DecoderPool(read_in_process, size=run.processes)
        self._options = {"max_pixels": 2 * (Image.MAX_IMAGE_PIXELS or sys.maxsize)}  # where Pillow refuses

    def read(self, pictures: Sequence[bytes], *, fingerprints: bool = False) -> Iterator[ReadPicture]:
        """What each picture gives, in order."""
        return self._pool.map(lambda data: self._one(data, fingerprints=fingerprints), pictures)

    def _one(self, data: bytes, *, fingerprints: bool) -> ReadPicture:
        kind = sniff_format(data)
        parts = excess(data, kind) if kind else None
        if parts:
            return ReadPicture(error=f"too_slow ({parts})", fingerprint=None)
        try:
            reply = self._pool.run(data, {**self._options, "fingerprints": fingerprints})
        except DecodeTroubleError as trouble:
            return ReadPicture(error=f"{trouble.outcome} ({trouble.evidence})", fingerprint=None)
        value = reply["fingerprint"]
        return ReadPicture(error=reply["error"], fingerprint=None if value is None else base64.b64decode(value))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()


def read_in_process(data: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """The job of a PictureReader's processes: decode as encoders do, and measure the fingerprint if it is wanted."""
    try:
        open_rgb(data)
    except UnreadableImageError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        return {"error": f"undecodable ({type(error.__cause__).__name__})", "fingerprint": None}
    value = measure_fingerprint(data) if options["fingerprints"] else None
    return {"error": "", "fingerprint": None if value is None else base64.b64encode(value).decode("ascii")}


def fingerprints_of(
    run: Run, ids: pa.Array, stored: pa.Table, places: pa.Table | None = None
) -> tuple[pa.Table, dict[str, str]]:
    """A row per picture, whose bytes are there: image_id, and what measure_fingerprints gives; and reasons by image_id.

    stored: [image_id, value] of those that were measured when they were checked, as most were. Those that were not are
    decoded now; one that exceeds its budget has nulls and a reason. places: as in `read_images`.
    """
    known_ids = stored["image_id"].combine_chunks()
    tables = [fingerprint_table([]).append_column("image_id", pa.array([], pa.string()))]
    reasons: dict[str, str] = {}
    unmeasured = ids.filter(pc.invert(pc.is_in(ids, known_ids)))
    if len(unmeasured) and places is None:
        places = find_places(run.workspace.downloads, unmeasured)
    checks = PictureChecks(max_pixels=sys.maxsize, measure=FINGERPRINT, processes=run.processes)
    with checks, run.progress.bar("fingerprints", len(unmeasured)) as advance:
        for start in range(0, len(ids), BATCH):
            batch = ids.slice(start, BATCH)
            values = stored["value"].take(pc.index_in(batch, known_ids)).to_pylist()
            new = [place for place, is_known in enumerate(pc.is_in(batch, known_ids).to_pylist()) if not is_known]
            names = [batch[place].as_py() for place in new]
            pictures = list(read_images(run.workspace.downloads, names, places)) if names else []
            for place, name, checked in zip(new, names, checks.check_all(pictures), strict=True):
                if isinstance(checked, CheckedPicture):
                    values[place] = checked.measured
                elif checked.outcome in TROUBLES:
                    reasons[name] = checked.outcome
            tables.append(fingerprint_table(values).append_column("image_id", batch))
            advance(len(new))
    return pa.concat_tables(tables), reasons
