"""Offer and choose captions, and keep the pairs whose picture and caption agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from evenly.curation import CAPTIONERS
from evenly.curation.align import Align, judge_alignment, threshold_of_counts
from evenly.curation.recaption import CANDIDATES, RecaptionRule, choose_captions, compare_captions, count_rewritten
from evenly.features import cosine_scores, top_concepts
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import encoder_identity, open_encoder, step_encoder, text_rows
from evenly.tasks.moves import Each, Moves, with_model
from evenly.tasks.pictures.pairs import count_scores, send_merged, send_with_captions, vectors_of
from evenly.tasks.pictures.sent_rows import SentRows, release_rows, send_partitions
from evenly.tasks.rebuild.concepts import record_named
from evenly.tasks.rebuild.deduplicate import merged_pairs
from evenly.tasks.rebuild.features import image_rows
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step, without_defaults

GIVEN = ["uid", "image_id", "caption", "origin"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ConceptRows:
    """The concepts that occur in the pool, and their features (n, d)."""

    names: Sequence[str]
    rows: npt.NDArray[np.float16]


def offer_captions(run: Run, upstream: Records, rule: RecaptionRule, each: Each) -> SentRows:
    """Every caption that is offered to each pair, with its score (CANDIDATES), by uid.

    These are its own, those of the pairs that were merged into it, and concepts that the picture's features retrieve.
    """
    counted = run.ledger.table(record_named(upstream, "count_concepts"), "counts", ["concept"])["concept"].to_pylist()
    concepts = ConceptRows(names=counted, rows=text_rows(run, counted))
    with send_merged(run, each, partial(_merged, upstream), partial(_collected, upstream)) as merged:
        given = partial(_given_captions, upstream, merged)
        return send_with_captions(run, each, "retrieving concepts", given, partial(_candidates, rule, concepts))


def recaption_pairs(run: Run, upstream: Records, rule: RecaptionRule, offered: SentRows) -> StepOutput:
    """Choose a caption per pair: its own, a merged twin's, or a concept that the picture's features retrieve.

    ConceptRows are those that occur in the pool. Table `candidates`: every caption that was offered, with its score.
    """
    uids = run.ledger.alive(upstream, [])["uid"].combine_chunks()
    candidates = offered.of(run).sort_by(
        [("uid", "ascending"), ("origin", "ascending"), ("score", "descending"), ("caption", "ascending")]
    )
    choice = choose_captions(uids, candidates, margin=rule.margin)
    decisions = choice.decisions.to_table(uids)
    for name in ("chosen_caption", "caption_origin", "caption_score"):
        decisions = decisions.append_column(name, choice.chosen[name])
    return StepOutput(decisions=decisions, tables={"candidates": candidates}, partial=count_rewritten(choice))


def compare_all(
    _run: Run, _upstream: Records, _rule: RecaptionRule, _offered: SentRows, partials: Sequence[pa.Table]
) -> StepOutput:
    """Notes: mean CLIPScore before and after, of the pairs whose caption changed."""
    return StepOutput(notes=compare_captions(partials))


def _merged(upstream: Records, run: Run) -> pa.Table:
    return merged_pairs(run, [record for record in upstream if record.name != "collect"])


def _collected(upstream: Records, run: Run) -> pa.Table:
    return run.ledger.decisions(record_named(upstream, "collect"), ["uid", "caption"])


def _given_captions(upstream: Records, merged: SentRows, run: Run) -> pa.Table:
    """GIVEN: each pair's own caption, and those of all pairs merged into it, each caption once."""
    collected = _collected(upstream, run)
    alive = run.ledger.alive(upstream, ["image_id"])
    uids, own = alive["uid"].combine_chunks(), collected["caption"].combine_chunks()
    own = own.take(pc.index_in(uids, collected["uid"].combine_chunks()))
    twins = merged.of(run)
    places = pc.index_in(twins["uid"].combine_chunks(), uids)
    twins, places = twins.filter(pc.is_valid(places)), places.drop_null()
    survivor_captions, captions = own.take(places), twins["caption"].combine_chunks()
    differs = pc.or_(
        pc.fill_null(pc.not_equal(captions, survivor_captions), False),
        pc.not_equal(pc.is_null(captions), pc.is_null(survivor_captions)),
    )
    parts = (
        (uids, own, "original"),
        (twins["uid"].combine_chunks().filter(differs), captions.filter(differs), "twin"),
    )
    tables = [
        pa.table({"uid": names, "caption": texts, "origin": pa.repeat(pa.scalar(origin), len(names))})
        for names, texts, origin in parts
    ]
    rows = pa.concat_tables(tables)
    rows = rows.group_by(rows.column_names, use_threads=False).aggregate([])
    images = alive["image_id"].combine_chunks().take(pc.index_in(rows["uid"].combine_chunks(), uids))
    return rows.append_column("image_id", images).select(GIVEN)


def _candidates(rule: RecaptionRule, concepts: ConceptRows, run: Run, rows: pa.Table) -> pa.Table:
    """CANDIDATES of the pairs that show the pictures of a partition: those that are given, and concepts."""
    if not rows.num_rows:
        return CANDIDATES.empty_table()
    images, places = _pictures(run, rows)
    scores = pa.array(cosine_scores(images[places], vectors_of(rows)))
    given = rows.append_column("score", scores).select(CANDIDATES.names)
    number, top = top_concepts(images, concepts.rows, min(rule.candidates, len(concepts.names)))
    is_own = pc.equal(rows["origin"], "original")
    shown = places[is_own.to_numpy()]
    names = [[concepts.names[place] for place in row] for row in number[shown].tolist()]
    retrieved = CAPTIONERS[rule.captioner](rows["uid"].filter(is_own).to_pylist(), names, top[shown].tolist())
    return pa.concat_tables([given.cast(CANDIDATES), retrieved])


@dataclass(frozen=True, kw_only=True)
class AlignFacts:
    """The score of each pair [uid, score], by uid, and the one that a pair must reach."""

    scores: SentRows
    threshold: float


def score_pairs(run: Run, upstream: Records, rule: Align, each: Each) -> AlignFacts:
    """Score every pair's chosen caption, and choose the threshold."""
    if _is_recaptioned(upstream):
        scores = send_partitions(run, each, "reading scores", "uid", partial(_stored_scores, upstream))
    else:
        scores = send_with_captions(run, each, "scoring pairs", partial(_captioned, upstream), _scored)
    try:
        if rule.min_score is not None:
            threshold = rule.min_score
        else:
            threshold = threshold_of_counts(each.partitions("counting scores", partial(count_scores, scores)), rule)
    except BaseException:
        scores.release()
        raise
    return AlignFacts(scores=scores, threshold=threshold)


@with_model
def align_pairs(run: Run, upstream: Records, _rule: Align, facts: AlignFacts) -> StepOutput:
    """Keep pairs by the image-text score of their chosen caption."""
    caption = "chosen_caption" if _is_recaptioned(upstream) else "caption"
    pairs = run.ledger.alive(upstream, [caption])
    rows = facts.scores.of(run)
    places = pc.index_in(pairs["uid"].combine_chunks(), rows["uid"].combine_chunks())
    scores = rows["score"].combine_chunks().take(places)
    decisions = judge_alignment(scores, facts.threshold).to_table(pairs["uid"])
    texts = pc.unique(pairs[caption]).to_pylist()
    longer = [text for text, is_longer in zip(texts, open_encoder(run).truncated(texts), strict=True) if is_longer]
    hashes = pa.array([xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in longer], pa.uint64())
    return StepOutput(decisions=decisions, partial=pa.table({"longer": hashes}))


def count_longer(
    _run: Run, _upstream: Records, _rule: Align, facts: AlignFacts, partials: Sequence[pa.Table]
) -> StepOutput:
    """Notes: the threshold, and how many different captions are longer than the encoder reads."""
    longer = len(pa.concat_tables(partials)["longer"].unique())
    return StepOutput(
        notes={"threshold": facts.threshold if np.isfinite(facts.threshold) else None, "captions_cut": longer}
    )


def release_scores(facts: AlignFacts) -> None:
    """Remove the scores that were sent."""
    facts.scores.release()


def _is_recaptioned(upstream: Records) -> bool:
    return any("caption_score" in record.columns for record in upstream)


def _stored_scores(upstream: Records, run: Run) -> pa.Table:
    return run.ledger.alive(upstream, ["caption_score"]).rename_columns(["uid", "score"])


def _captioned(upstream: Records, run: Run) -> pa.Table:
    return run.ledger.alive(upstream, ["image_id", "caption"])


def _scored(run: Run, rows: pa.Table) -> pa.Table:
    if not rows.num_rows:
        return pa.table({"uid": rows["uid"], "score": pa.array([], pa.float64())})
    images, places = _pictures(run, rows)
    return pa.table({"uid": rows["uid"], "score": cosine_scores(images[places], vectors_of(rows))})


def _pictures(run: Run, rows: pa.Table) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """The features of the pictures of some pairs, each once, and the place of each pair's."""
    ids = rows["image_id"].combine_chunks()
    different = ids.unique()
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    return image_rows(run, store, different), pc.index_in(ids, different).to_numpy()


RECAPTION = Step(
    name="recaption",
    rule=RecaptionRule,
    moves=Moves(resolve=offer_captions, judge=recaption_pairs, finish=compare_all, release=release_rows),
    model=step_encoder,
)
ALIGN = Step(
    name="align",
    rule=Align,
    stored=without_defaults("keep_top", "min_score"),
    moves=Moves(resolve=score_pairs, judge=align_pairs, finish=count_longer, release=release_scores),
    model=step_encoder,
)
