"""The text that stands in pictures, read where they lie, once for each, and kept."""

from functools import lru_cache, partial

import pyarrow as pa
import pyarrow.compute as pc

from evenly.features.pictures.text_reader import TextReader
from evenly.storage.tables.row_store import TextStore
from evenly.storage.web.images import find_places, read_images
from evenly.tasks.each import Each, Records
from evenly.tasks.pictures.fingerprints import pictures_with_bytes
from evenly.tasks.pictures.observed import send_places
from evenly.tasks.pictures.pairs import send_by_picture
from evenly.tasks.pictures.sent_rows import SentRows, release_rows
from evenly.tasks.run import Run

PICTURE_TEXT = "picture_text"
_AT_ONCE = 64  # pictures whose text is stored at once


@lru_cache(maxsize=1)
def text_reader() -> TextReader:
    """The reader; WeightsUnavailableError where its package is not installed."""
    return TextReader()


def send_picture_texts(run: Run, upstream: Records, each: Each) -> SentRows:
    """[uid, PICTURE_TEXT] of the pairs whose picture has bytes, by uid."""
    places = send_places(run, each) if run.bits else None
    try:
        pairs = partial(pictures_with_bytes, upstream)
        return send_by_picture(run, each, "reading text in pictures", pairs, partial(_with_texts, places))
    finally:
        release_rows(places)


def _with_texts(places: SentRows | None, run: Run, pairs: pa.Table) -> pa.Table:
    ids = pairs["image_id"].combine_chunks()
    different = ids.unique()
    texts = _texts(run, different.to_pylist(), None if places is None else places.of(run))
    return pa.table({"uid": pairs["uid"], PICTURE_TEXT: texts.take(pc.index_in(ids, different))})


def _texts(run: Run, image_ids: list[str], places: pa.Table | None) -> pa.Array:
    """The text of each picture; only those are read that were not read before."""
    reader = text_reader()
    store = TextStore(run.workspace, reader.identity, "picture_texts")
    texts = dict(zip(image_ids, store.read(image_ids), strict=True))
    missing = [image_id for image_id, text in texts.items() if text is None]
    if missing and places is None:
        places = find_places(run.workspace.downloads, missing)
    with run.progress.bar("reading text in pictures", len(missing)) as advance:
        for start in range(0, len(missing), _AT_ONCE):
            names = missing[start : start + _AT_ONCE]
            read = reader.read(read_images(run.workspace.downloads, names, places), progress=advance)
            store.append(names, read)
            texts.update(zip(names, read, strict=True))
    return pa.array([texts[image_id] for image_id in image_ids], pa.string())
