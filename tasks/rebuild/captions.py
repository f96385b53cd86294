"""Offer and choose captions, and keep the pairs whose picture and caption agree."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation import CAPTIONERS
from evenly.curation.align import Align, judge_alignment, resolve_threshold
from evenly.curation.recaption import CANDIDATES, RecaptionRule, choose_captions, compare_captions
from evenly.features import cosine_scores, top_concepts
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.tasks.encoders import encoder_identity, open_encoder, step_encoder, text_rows
from evenly.tasks.rebuild.concepts import record_named
from evenly.tasks.rebuild.deduplicate import merged_pairs
from evenly.tasks.rebuild.features import image_rows
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step, without_defaults


def recaption_pairs(run: Run, upstream: Records, rule: RecaptionRule) -> StepOutput:
    """Choose a caption per pair: its own, a merged twin's, or a concept that the picture's features retrieve.

    Concepts are those that occur in the pool. Table `candidates`: every caption that was offered, with its score.
    Notes: mean CLIPScore before and after, of the pairs whose caption changed.
    """
    pairs = run.ledger.alive(upstream, ["image_id", "caption"])
    store = FeatureStore(run.workspace, encoder_identity(run), "images")
    images = image_rows(run, store, pairs["image_id"].to_pylist())
    own_captions = _given_captions(run, upstream, pairs)
    index = pc.index_in(own_captions["uid"], pairs["uid"].combine_chunks()).to_numpy()
    scores = cosine_scores(images[index], text_rows(run, own_captions["caption"].to_pylist()))
    own_captions = own_captions.append_column("score", pa.array(scores))
    offered = _retrieve(run, upstream, pairs, images, rule)
    candidates = pa.concat_tables([own_captions.select(CANDIDATES.names), offered]).sort_by(
        [("uid", "ascending"), ("origin", "ascending"), ("score", "descending"), ("caption", "ascending")]
    )
    choice = choose_captions(pairs["uid"].combine_chunks(), candidates, margin=rule.margin)
    decisions = choice.decisions.to_table(pairs["uid"])
    for name in ("chosen_caption", "caption_origin", "caption_score"):
        decisions = decisions.append_column(name, choice.chosen[name])
    return StepOutput(decisions=decisions, tables={"candidates": candidates}, notes=compare_captions(choice))


def align_pairs(run: Run, upstream: Records, rule: Align) -> StepOutput:
    """Keep pairs by the image-text score of their chosen caption.

    Notes: the threshold, and how many different captions are longer than the encoder reads.
    """
    if any("caption_score" in record.columns for record in upstream):
        pairs = run.ledger.alive(upstream, ["caption_score", "chosen_caption"])
        scores, captions = pairs["caption_score"].combine_chunks(), pairs["chosen_caption"]
    else:
        pairs = run.ledger.alive(upstream, ["image_id", "caption"])
        store = FeatureStore(run.workspace, encoder_identity(run), "images")
        images = image_rows(run, store, pairs["image_id"].to_pylist())
        captions = pairs["caption"]
        scores = pa.array(cosine_scores(images, text_rows(run, captions.to_pylist())))
    threshold = resolve_threshold(scores, rule)
    decisions = judge_alignment(scores, threshold).to_table(pairs["uid"])
    longer = sum(open_encoder(run).truncated(pc.unique(captions).to_pylist()))
    notes = {"threshold": threshold if np.isfinite(threshold) else None, "captions_cut": longer}
    return StepOutput(decisions=decisions, notes=notes)


def _given_captions(run: Run, upstream: Records, pairs: pa.Table) -> pa.Table:
    """uid, caption, origin: each pair's own caption, and those of all pairs merged into it, each caption once."""
    first = run.ledger.decisions(record_named(upstream, "collect"), ["uid", "caption"])
    uids, captions = first["uid"].combine_chunks(), first["caption"].combine_chunks()
    alive = pairs["uid"].combine_chunks().unique().sort()
    merged = merged_pairs(run, [record for record in upstream if record.name != "collect"])
    merged = merged.filter(pc.is_in(merged["survivor"], alive)).sort_by("uid")
    survivors = merged["survivor"].combine_chunks()
    own_captions, twins = (captions.take(pc.index_in(names, uids)) for names in (survivors, merged["uid"]))
    differs = pc.or_(
        pc.fill_null(pc.not_equal(twins, own_captions), False),
        pc.not_equal(pc.is_null(twins), pc.is_null(own_captions)),
    )
    parts = (
        (alive, captions.take(pc.index_in(alive, uids)), "original"),
        (survivors.filter(differs), twins.filter(differs), "twin"),
    )
    tables = [
        pa.table({"uid": names, "caption": texts, "origin": pa.repeat(pa.scalar(origin), len(names))})
        for names, texts, origin in parts
    ]
    rows = pa.concat_tables(tables)
    return rows.group_by(rows.column_names, use_threads=False).aggregate([])


def _retrieve(run: Run, upstream: Records, pairs: pa.Table, images: "np.ndarray", rule: RecaptionRule) -> pa.Table:
    concepts = run.ledger.table(record_named(upstream, "count_concepts"), "counts", ["concept"])["concept"].to_pylist()
    with run.progress.bar("retrieving concepts", None):
        indices, scores = top_concepts(images, text_rows(run, concepts), min(rule.candidates, len(concepts)))
    names = [[concepts[number] for number in row] for row in indices]
    return CAPTIONERS[rule.captioner](pairs["uid"].to_pylist(), names, scores.tolist())


RECAPTION = Step(name="recaption", rule=RecaptionRule, compute=recaption_pairs, model=step_encoder)
ALIGN = Step(
    name="align", rule=Align, stored=without_defaults("keep_top", "min_score"), compute=align_pairs, model=step_encoder
)
