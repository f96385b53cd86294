"""Concepts that captions name and pictures do not show: limits of the whole pool, then each partition."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Floats, Ints
from evenly.curation.captions.choice import GIVEN
from evenly.curation.captions.unseen import draw_pairs, join_draws, recognised_limits, unseen_names
from evenly.curation.concepts.multilingual import named_entries
from evenly.features import cosine_scores
from evenly.features.unit_rows import SCORE_DIGITS
from evenly.storage.feature_store import FeatureStore
from evenly.tasks.encoders import encoder_identity, store_texts, text_id
from evenly.tasks.pictures.encoded import image_rows
from evenly.tasks.pictures.sent_rows import SentRows
from evenly.tasks.rebuild.concepts import MATCH_CONCEPTS, concept_matcher, record_named
from evenly.tasks.run import Each, Records, Run

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
    return any(record.name == "match_concepts" for record in upstream)


def with_concepts(run: Run, upstream: Records, offered: pa.Table) -> pa.Table:
    """The offers to the pairs of a partition, with CONCEPTS: those of the list of the pair's language, if any."""
    rule = MATCH_CONCEPTS.read(record_named(upstream, "match_concepts").rule)
    texts = offered.select(["caption"])
    if rule.language is not None:
        pairs = run.ledger.alive(upstream, [rule.language])
        places = pc.index_in(offered["uid"], pairs["uid"].combine_chunks())
        texts = texts.append_column(rule.language, pairs[rule.language].combine_chunks().take(places))
    return offered.append_column(CONCEPTS, named_entries(concept_matcher(run, rule), texts, run.processes))


def concept_limits(run: Run, upstream: Records, offered: SentRows, each: Each) -> ConceptLimits:
    """The limits of the concepts that given captions name, by a sample of the pool."""
    sample = join_draws(each.partitions("drawing pairs", partial(_drawn, offered)))
    concepts = sample[CONCEPTS].combine_chunks()
    of_pair, entries = pc.list_parent_indices(concepts).to_numpy(), pc.list_flatten(concepts).to_numpy()
    order = np.argsort(entries, kind="stable")
    different, starts = np.unique(entries[order], return_index=True)
    named = np.split(of_pair[order].astype(np.int64), starts[1:]) if len(different) else []
    listed = run.ledger.table(record_named(upstream, "match_concepts"), "concepts", ["entry"])["entry"]
    names = listed.combine_chunks().take(pa.array(different))
    limits = np.empty(len(different))
    if len(different):
        images = _directions(image_rows(run, _store(run, "images"), sample["image_id"].combine_chunks()))
        store = store_texts(run, names.to_pylist())
        for start in range(0, len(different), _CONCEPTS_AT_ONCE):
            here = slice(start, start + _CONCEPTS_AT_ONCE)
            texts = _directions(store.read(_text_ids(names[here]))[0])
            limits[here] = recognised_limits((texts @ images.T).round(SCORE_DIGITS), named[here])
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
            here = slice(start, start + _AT_ONCE)
            cosines = cosine_scores(images[of_row[parents[here]]], texts[of_concept[here]])
            is_unseen[here] = cosines < limits.limits[places[here]]
    return unseen_names(is_unseen, parents, limits.names.take(pa.array(places)), n_rows=rows.num_rows)


def _drawn(offered: SentRows, run: Run) -> pa.Table:
    """Pairs of a partition that may be in the sample: uid, image_id, and the concepts of their own captions."""
    rows = offered.of(run)
    own = rows.filter(pc.equal(rows["origin"], GIVEN[0])).select(["uid", "image_id", CONCEPTS])
    return draw_pairs(own, seed=run.seed)


def _directions(rows: npt.NDArray[np.float16]) -> Floats:
    """Rows (n, d) of length 1, whose products are cosines to the digits that are compared."""
    wide = rows.astype(np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    return np.asarray(wide / lengths)


def _store(run: Run, kind: str) -> FeatureStore:
    return FeatureStore(run.workspace, encoder_identity(run), kind)


def _text_ids(names: pa.Array) -> list[str]:
    return [text_id(name) for name in names.to_pylist()]
