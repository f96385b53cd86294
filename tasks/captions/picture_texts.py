"""The text that stands in pictures, read where they lie, once for each, and kept."""

from functools import lru_cache, partial

import pyarrow as pa
import pyarrow.compute as pc

from evenly.features.pictures.text_reader import TextReader
from evenly.storage.tables.row_store import TextStore
from evenly.storage.web.images import read_images
from evenly.tasks.pictures.fingerprints import pictures_with_bytes
from evenly.tasks.pictures.pairs import send_by_picture
from evenly.tasks.pictures.sent_rows import PicturePlaces, SentRows, send_places
from evenly.tasks.run import Each, Records, Run

PICTURE_TEXT = "picture_text"
_AT_ONCE = 64  # pictures whose text is stored at once


@lru_cache(maxsize=1)
def text_reader() -> TextReader:
    """The reader; WeightsUnavailableError where its package is not installed."""
    return TextReader()


def send_picture_texts(run: Run, upstream: Records, each: Each) -> SentRows:
    """[uid, PICTURE_TEXT] of the pairs whose picture has bytes, by uid."""
    with send_places(run, each) as places:
        pairs = partial(pictures_with_bytes, upstream)
        return send_by_picture(run, each, "reading text in pictures", pairs, partial(_with_texts, places))


def _with_texts(places: PicturePlaces, run: Run, pairs: pa.Table) -> pa.Table:
    ids = pairs["image_id"].combine_chunks()
    different = ids.unique()
    texts = _texts(run, different.to_pylist(), places)
    return pa.table({"uid": pairs["uid"], PICTURE_TEXT: texts.take(pc.index_in(ids, different))})


def _texts(run: Run, image_ids: list[str], places: PicturePlaces) -> pa.Array:
    """The text of each picture; only those are read that were not read before."""
    reader = text_reader()
    store = TextStore(run.workspace, reader.identity, "picture_texts")
    texts = dict(zip(image_ids, store.read(image_ids), strict=True))
    missing = [image_id for image_id, text in texts.items() if text is None]
    located = places.of(run, missing) if missing else None
    with run.progress.bar("reading text in pictures", len(missing)) as advance:
        for start in range(0, len(missing), _AT_ONCE):
            names = missing[start : start + _AT_ONCE]
            read = reader.read(read_images(run.workspace.downloads, names, located), progress=advance)
            store.append(names, read)
            texts.update(zip(names, read, strict=True))
    return pa.array([texts[image_id] for image_id in image_ids], pa.string())
