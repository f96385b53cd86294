"""Candidates for every pair: its own caption, those of its duplicates, and what captioners make.

Captioners work where pictures lie. Candidates are gathered where their pair is.

Concepts that captions name and that are unseen in their pictures are marked.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats, Ints
from evenly.curation.captions.choice import GIVEN
from evenly.curation.captions.unseen import draw_pairs, join_draws, recognised_limits, unseen_names
from evenly.curation.collecting import COLLECT
from evenly.curation.concepts.judgement import REGION_LABELS
from evenly.curation.errors import RuleError
from evenly.curation.step import gives
from evenly.descriptions.captions.asked import MADE
from evenly.features import cosine_scores
from evenly.features.unit_rows import SCORE_DIGITS
from evenly.storage.feature_store import FeatureStore, text_id
from evenly.tasks.captions import CAPTIONERS
from evenly.tasks.captions.captioner import Shown
from evenly.tasks.encoders import encoder_identity, store_texts
from evenly.tasks.pictures.encoded import image_rows
from evenly.tasks.pictures.pairs import send_merged
from evenly.tasks.pictures.sent_rows import Give, PicturePlaces, SentRows, send_partitions, send_places
from evenly.tasks.rebuild.concepts import MATCH_CONCEPTS, concept_matcher, record_named
from evenly.tasks.rebuild.deduplicate import merged_pairs
from evenly.tasks.run import Each, Records, Run

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
ORIGINAL, TWIN = GIVEN
OFFERED = MADE.insert(3, pa.field("origin", pa.string()))
"""What captioners make, and who made it."""


@dataclass(frozen=True, kw_only=True)
class NamedCaptioner:
    """A captioner of a recipe: its name, which is the origin of its captions, its kind, and its rule."""

    name: str
    kind: str
    rule: Any


@dataclass(frozen=True, kw_only=True)
class SortedPairs:
    """The input of a captioner: pairs and places of pictures by image_id, and as in Shown."""

    shown: SentRows
    places: PicturePlaces
    facts: Any
    workers: int


def offer_captions(run: Run, upstream: Records, captioners: Sequence[NamedCaptioner], engine: Each) -> SentRows:
    """All candidates by uid: OFFERED, and CONCEPTS where captions are matched."""
    kinds = [CAPTIONERS[captioner.kind] for captioner in captioners]
    columns = sorted(
        {name for kind, captioner in zip(kinds, captioners, strict=True) for name in kind.columns(captioner.rule)}
    )
    with ExitStack() as sent:

        def send(title: str, key: str, give: Give) -> SentRows:
            return sent.enter_context(send_partitions(run, engine, title, key, give))

        merged, shown = sent.enter_context(texts_of_pairs(run, upstream, columns, engine))
        rows = [send("reading captions", "uid", partial(_given, upstream, merged))]
        places = PicturePlaces()
        if any(kind.reads_pictures for kind in kinds):
            places = sent.enter_context(send_places(run, engine))
        for captioner, kind in zip(captioners, kinds, strict=True):
            facts = kind.prepare(run, upstream, captioner.rule, engine)
            work = SortedPairs(shown=shown, places=places, facts=facts, workers=engine.n_workers)
            rows.append(send(f"captions by {captioner.name}", "uid", partial(_made, captioner, kind.offer, work)))
        return send_partitions(run, engine, "gathering captions", "uid", partial(_joined, upstream, rows))


@contextmanager
def texts_of_pairs(
    run: Run, upstream: Records, columns: Sequence[str], engine: Each
) -> Iterator[tuple[SentRows, SentRows]]:
    """Pairs that are merged into others, by uid; and the pairs that are left, as captioners are shown them.

    Raises RuleError where the pool has no column that captioners read; `region_labels` is one of a step before.
    """
    pool_columns = [*record_named(upstream, COLLECT.name).columns, *_of_regions(upstream)]
    if missing := [name for name in columns if name not in pool_columns]:
        raise RuleError(
            f"`columns` of captioners must be columns of the pool; got {', '.join(missing)}. There are "
            f"{', '.join(sorted(pool_columns))}."
        )
    collected = partial(_collected, upstream, [])
    with (
        send_merged(run, engine, partial(_merged, upstream), collected) as merged,
        send_partitions(
            run, engine, "sorting pairs", "image_id", partial(_to_caption, upstream, merged, columns)
        ) as shown,
    ):
        yield merged, shown


def _merged(upstream: Records, run: Run) -> pa.Table:
    return merged_pairs(run.ledger, [record for record in upstream if record.name != COLLECT.name])


def _collected(upstream: Records, columns: Sequence[str], run: Run) -> pa.Table:
    return run.ledger.decisions(record_named(upstream, COLLECT.name), ["uid", "caption", *columns])


def _of_regions(upstream: Records) -> list[str]:
    """The column of labels of regions, where a step gives it."""
    return [REGION_LABELS] if gives(upstream, REGION_LABELS) else []


def _own(upstream: Records, columns: Sequence[str], run: Run) -> pa.Table:
    """uid, image_id, caption and further columns of the pairs that are left in a partition."""
    of_regions = [name for name in _of_regions(upstream) if name in columns]
    alive = run.ledger.alive(upstream, ["image_id", *of_regions])
    of_pool = [name for name in columns if name not in of_regions]
    collected = _collected(upstream, of_pool, run)
    places = pc.index_in(alive["uid"].combine_chunks(), collected["uid"].combine_chunks())
    for name in ("caption", *of_pool):
        alive = alive.append_column(name, collected[name].combine_chunks().take(places))
    return alive.select(["uid", "image_id", "caption", *columns]).combine_chunks()


def _twins(originals: pa.Table, merged: SentRows, run: Run) -> pa.Table:
    """Uid and caption of the pairs merged into `originals`, where it is another than theirs; each once, sorted."""
    uids, captions = originals["uid"].combine_chunks(), originals["caption"].combine_chunks()
    twins = merged.of(run)
    places = pc.index_in(twins["uid"].combine_chunks(), uids)
    twins, places = twins.filter(pc.is_valid(places)), places.drop_null()
    differs = pc.fill_null(pc.not_equal(twins["caption"].combine_chunks(), captions.take(places)), True)
    rows = twins.filter(pc.and_(differs, pc.is_valid(twins["caption"].combine_chunks())))
    rows = rows.select(["uid", "caption"]).group_by(["uid", "caption"], use_threads=False).aggregate([])
    return rows.sort_by([("uid", "ascending"), ("caption", "ascending")])


def _given(upstream: Records, merged: SentRows, run: Run) -> pa.Table:
    """OFFERED of each pair's own caption, and those of all pairs merged into it, each caption once."""
    originals = _own(upstream, [], run)
    twins = _twins(originals, merged, run)
    places = pc.index_in(twins["uid"].combine_chunks(), originals["uid"].combine_chunks())
    twins = twins.append_column("image_id", originals["image_id"].combine_chunks().take(places))
    return pa.concat_tables([_as_offered(originals, ORIGINAL), _as_offered(twins, TWIN)]).combine_chunks()


def _as_offered(rows: pa.Table, origin: str) -> pa.Table:
    """OFFERED of uid, image_id and caption, the rows of a pair standing together."""
    n = rows.num_rows
    columns = {
        **{name: rows[name].combine_chunks() for name in ("uid", "image_id", "caption")},
        "origin": pa.repeat(pa.scalar(origin), n),
        "sample": _numbers(rows["uid"].combine_chunks()),
        "request_id": pa.nulls(n, pa.string()),
        "refused": pa.repeat(pa.scalar(""), n),
        "passing": pa.repeat(pa.scalar(False), n),
    }
    return pa.table(columns).select(OFFERED.names).cast(OFFERED)


def _numbers(uids: pa.Array) -> pa.Array:
    """0, 1, 2 … for the rows of each uid, which stand together."""
    n = len(uids)
    if not n:
        return pa.array([], pa.int32())
    is_first = np.r_[True, pc.not_equal(uids.slice(1), uids.slice(0, n - 1)).to_numpy(zero_copy_only=False)]
    starts = np.flatnonzero(is_first)
    return pa.array(np.arange(n) - np.repeat(starts, np.diff(np.r_[starts, n])), pa.int32())


def _to_caption(upstream: Records, merged: SentRows, columns: Sequence[str], run: Run) -> pa.Table:
    """uid, image_id, texts, and the columns that captioners read, of the pairs of a partition."""
    originals = _own(upstream, columns, run)
    twins = _twins(originals, merged, run)
    is_given = pc.fill_null(pc.not_equal(originals["caption"].combine_chunks(), ""), False)
    pairs = pc.index_in(twins["uid"].combine_chunks(), originals["uid"].combine_chunks())
    places = np.r_[np.flatnonzero(is_given), pairs.to_numpy()].astype(np.int64)
    captions = [originals["caption"].combine_chunks().filter(is_given), twins["caption"].combine_chunks()]
    offsets = np.r_[0, np.cumsum(np.bincount(places, minlength=originals.num_rows))]
    texts = pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), pa.concat_arrays(captions).take(pa.array(np.argsort(places, kind="stable")))
    )
    return originals.drop(["caption"]).append_column("texts", texts)


def _made(
    captioner: NamedCaptioner, offer: Callable[[Run, Any, Shown], pa.Table], work: "SortedPairs", run: Run
) -> pa.Table:
    """OFFERED of what a captioner makes of the pairs of a partition."""
    pairs = work.shown.of(run).sort_by([("image_id", "ascending"), ("uid", "ascending")])
    offers = MADE.empty_table()
    if pairs.num_rows:
        places = None
        if CAPTIONERS[captioner.kind].reads_pictures:
            places = work.places.of(run, pairs["image_id"].combine_chunks().unique())
        offers = offer(
            run,
            captioner.rule,
            Shown(name=captioner.name, pairs=pairs, places=places, facts=work.facts, workers=work.workers),
        )
    return offers.append_column("origin", pa.repeat(captioner.name, offers.num_rows)).select(OFFERED.names)


def _joined(upstream: Records, rows: Sequence[SentRows], run: Run) -> pa.Table:
    offered = pa.concat_tables([sent.of(run) for sent in rows])
    return with_concepts(run, upstream, offered) if matches_concepts(upstream) else offered


CONCEPTS = "concepts"
"""The column of the concepts that a caption names, list<int32>."""
UNSEEN_NAMES = pa.list_(pa.string())
_AT_ONCE = 8192  # pairs of a picture and a concept
_CONCEPTS_AT_ONCE = 1024  # held against the sample


@dataclass(frozen=True, kw_only=True, eq=False)
class ConceptLimits:
    """Concepts that are recognised: entries (m,) ascending, names, and cosines below which each is unseen.

    named: how many different concepts captions of the pool's sample name.
    """

    entries: Ints
    names: pa.Array
    limits: Floats
    named: int


def matches_concepts(upstream: Records) -> bool:
    """Whether captions are matched with a list of concepts."""
    return any(record.name == MATCH_CONCEPTS.name for record in upstream)


def with_concepts(run: Run, upstream: Records, offered: pa.Table) -> pa.Table:
    """The offers to the pairs of a partition, with CONCEPTS: those of the list of the pair's language, if any."""
    rule = MATCH_CONCEPTS.read(record_named(upstream, MATCH_CONCEPTS.name).rule)
    texts = offered.select(["caption"])
    if rule.language is not None:
        pairs = run.ledger.alive(upstream, [rule.language])
        places = pc.index_in(offered["uid"], pairs["uid"].combine_chunks())
        texts = texts.append_column(rule.language, pairs[rule.language].combine_chunks().take(places))
    return offered.append_column(CONCEPTS, concept_matcher(run, rule).match_table(texts, workers=run.processes))


def concept_limits(run: Run, upstream: Records, offered: SentRows, engine: Each) -> ConceptLimits:
    """The limits of the concepts that given captions name, by a sample of the pool."""
    sample = join_draws(engine.partitions("drawing pairs", partial(_drawn, offered)))
    concepts = sample[CONCEPTS].combine_chunks()
    of_pair, entries = pc.list_parent_indices(concepts).to_numpy(), pc.list_flatten(concepts).to_numpy()
    order = np.argsort(entries, kind="stable")
    different, starts = np.unique(entries[order], return_index=True)
    named = np.split(of_pair[order].astype(np.int64), starts[1:]) if len(different) else []
    listed = run.ledger.table(record_named(upstream, MATCH_CONCEPTS.name), "concepts", ["entry"])["entry"]
    names = listed.combine_chunks().take(pa.array(different))
    limits = np.empty(len(different))
    if len(different):
        images = _directions(image_rows(run, _store(run, "images"), sample["image_id"].combine_chunks()))
        store = store_texts(run, names.to_pylist())
        for start in range(0, len(different), _CONCEPTS_AT_ONCE):
            chunk = slice(start, start + _CONCEPTS_AT_ONCE)
            texts = _directions(store.read(_text_ids(names[chunk]))[0])
            limits[chunk] = recognised_limits((texts @ images.T).round(SCORE_DIGITS), named[chunk])
    is_recognised = ~np.isnan(limits)
    entries = different[is_recognised].astype(np.int64)
    return ConceptLimits(
        entries=entries, names=names.filter(pa.array(is_recognised)), limits=limits[is_recognised], named=len(different)
    )


def unseen_concepts(
    run: Run, limits: ConceptLimits, rows: pa.Table, images: npt.NDArray[np.float16], of_row: Ints
) -> pa.ListArray:
    """The names of the concepts of each row that its picture, `images` (n, d) at `of_row`, is too far from."""
    concepts = rows[CONCEPTS].combine_chunks()
    entries = pc.list_flatten(concepts).to_numpy()
    is_recognised = np.isin(entries, limits.entries)
    places = np.searchsorted(limits.entries, entries[is_recognised])
    parents = pc.list_parent_indices(concepts).to_numpy()[is_recognised].astype(np.int64)
    different, of_concept = np.unique(places, return_inverse=True)
    is_unseen = np.zeros(len(places), np.bool_)
    if len(places):
        texts = _store(run, "texts").read(_text_ids(limits.names.take(pa.array(different))))[0]
        for start in range(0, len(places), _AT_ONCE):
            chunk = slice(start, start + _AT_ONCE)
            cosines = cosine_scores(images[of_row[parents[chunk]]], texts[of_concept[chunk]])
            is_unseen[chunk] = cosines < limits.limits[places[chunk]]
    return unseen_names(is_unseen, parents, limits.names.take(pa.array(places)), n_rows=rows.num_rows)


def _drawn(offered: SentRows, run: Run) -> pa.Table:
    """Pairs of a partition that may be in the sample: uid, image_id, and the concepts of their own captions."""
    rows = offered.of(run)
    originals = rows.filter(pc.equal(rows["origin"], GIVEN[0])).select(["uid", "image_id", CONCEPTS])
    return draw_pairs(originals, seed=run.seed)


def _directions(rows: npt.NDArray[np.float16]) -> Floats:
    """Rows (n, d) of length 1, whose products are cosines to the digits that are compared."""
    wide = rows.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return np.asarray(wide / lengths)


def _store(run: Run, kind: str) -> FeatureStore:
    return FeatureStore(run.workspace, encoder_identity(run), kind)


def _text_ids(names: pa.Array) -> list[str]:
    return [text_id(name) for name in names.to_pylist()]
