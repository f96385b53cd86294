"""The scores of candidates: how well each fits its picture, by two encoders, and what it names that is unseen."""

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats
from evenly.curation.captions.choice import GIVEN
from evenly.curation.captions.scores import ref_clip_scores, reference_places
from evenly.features import cosine_scores
from evenly.features.pictures.text_reader import TextReader
from evenly.features.unit_rows import SCORE_DIGITS
from evenly.storage.feature_store import TextStore
from evenly.storage.web.images import read_images
from evenly.tasks.captions.offers import OFFERED, UNSEEN_NAMES, ConceptLimits, unseen_concepts
from evenly.tasks.decoding import pictures_with_bytes
from evenly.tasks.encoders import open_encoder
from evenly.tasks.pictures.encoded import pictures_of, store_images
from evenly.tasks.pictures.pairs import VECTOR, send_by_picture, send_with_captions, vectors_of
from evenly.tasks.pictures.sent_rows import PicturePlaces, PictureSources, SentRows, send_places, send_sources
from evenly.tasks.run import Each, EncoderChoice, Records, Run, with_model
from evenly.tasks.step import EachFor

_AT_ONCE = 1 << 16  # captions and their references


def score_offers(
    run: Run, offered: SentRows, engine: Each, judge: EncoderChoice | None, limits: ConceptLimits | None
) -> SentRows:
    """The candidates that were not refused, by uid: OFFERED, score, cut, unseen, ref_clip_score, and judged, if it is.

    cut: whether the caption is longer than the encoder reads. unseen: names of unseen concepts, null without limits.
    """
    to_score, work = partial(_to_score, offered), partial(_scored, limits)
    scored = send_with_captions(run, engine, "scoring captions", to_score, work)
    if judge is None:
        return scored
    with_judge = partial(with_encoder, choice=judge)
    second, judging = with_judge(run), EachFor(engine=engine, change=with_judge)
    with scored, send_sources(second, judging) as sources:
        work = partial(_judged, sources)
        return send_with_captions(second, judging, "judging captions", scored.of, work)


def with_encoder(run: Run, choice: EncoderChoice) -> Run:
    """The run with another encoder."""
    return replace(run, encoder=choice, encoder_identity=None)


def _to_score(offered: SentRows, run: Run) -> pa.Table:
    rows = offered.of(run)
    return rows.filter(pc.and_(pc.equal(rows["refused"], ""), pc.is_valid(rows["caption"])))


@with_model
def _scored(limits: ConceptLimits | None, run: Run, rows: pa.Table) -> pa.Table:
    scores, cut = np.empty(0), np.empty(0, np.bool_)
    unseen = pa.nulls(rows.num_rows, UNSEEN_NAMES)
    ref_clip = pa.nulls(rows.num_rows, pa.float64())
    if rows.num_rows:
        images, places = pictures_of(run, rows["image_id"].combine_chunks())
        of_row = places.to_numpy()
        scores = cosine_scores(images[of_row], vectors_of(rows))
        ref_clip = _ref_clip_scores(rows, scores)
        captions = rows["caption"].combine_chunks()
        texts = captions.unique()
        longer = pa.array(open_encoder(run).truncated(texts.to_pylist()))
        cut = longer.take(pc.index_in(captions, texts)).to_numpy(zero_copy_only=False)
        if limits is not None:
            unseen = unseen_concepts(run, limits, rows, images, of_row)
    columns = rows.select(OFFERED.names).append_column("score", pa.array(scores, pa.float64()))
    columns = columns.append_column("cut", pa.array(cut, pa.bool_())).append_column("unseen", unseen)
    return columns.append_column("ref_clip_score", ref_clip)


def _ref_clip_scores(rows: pa.Table, scores: Floats) -> pa.Array:
    """RefCLIPScores of candidates, null where their picture had no other text."""
    ranks = pc.fill_null(pc.index_in(rows["origin"], pa.array(GIVEN)), len(GIVEN)).to_numpy().astype(np.int64)
    uids, captions = rows["uid"].combine_chunks(), rows["caption"].combine_chunks()
    candidates, references = reference_places(uids, captions, ranks)
    vectors, nearest = vectors_of(rows), np.full(len(rows), -np.inf)
    for start in range(0, len(candidates), _AT_ONCE):
        left, right = (places[start : start + _AT_ONCE] for places in (candidates, references))
        np.maximum.at(nearest, left, cosine_scores(vectors[left], vectors[right]))
    is_compared = np.isfinite(nearest)
    values = ref_clip_scores(scores, np.where(is_compared, nearest, 0.0)).round(SCORE_DIGITS)
    return pa.array(values, mask=~is_compared)


@with_model
def _judged(sources: PictureSources, run: Run, rows: pa.Table) -> pa.Table:
    scores = np.empty(0)
    if rows.num_rows:
        ids = rows["image_id"].combine_chunks()
        store_images(run, ids.unique().sort(), sources)
        images, places = pictures_of(run, ids)
        scores = cosine_scores(images[places.to_numpy()], vectors_of(rows))
    return rows.drop([VECTOR]).append_column("judged", pa.array(scores, pa.float64()))


PICTURE_TEXT = "picture_text"
_READ_AT_ONCE = 64  # pictures whose text is stored at once


@lru_cache(maxsize=1)
def text_reader() -> TextReader:
    """The reader; WeightsUnavailableError where its package is not installed."""
    return TextReader()


def send_picture_texts(run: Run, upstream: Records, engine: Each) -> SentRows:
    """[uid, PICTURE_TEXT] of the pairs whose picture has bytes, by uid."""
    with send_places(run, engine) as places:
        pairs = partial(pictures_with_bytes, upstream)
        return send_by_picture(run, engine, "reading text in pictures", pairs, partial(_with_texts, places))


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
        for start in range(0, len(missing), _READ_AT_ONCE):
            names = missing[start : start + _READ_AT_ONCE]
            read = reader.read(read_images(run.workspace.downloads, names, located), progress=advance)
            store.append(names, read)
            texts.update(zip(names, read, strict=True))
    return pa.array([texts[image_id] for image_id in image_ids], pa.string())
