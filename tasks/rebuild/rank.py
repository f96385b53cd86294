"""Keep pairs by the score that a saved ranking head gives their picture."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.adapters.features import Features
from evenly.adapters.ranking import RankingHead
from evenly.adapters.saved_ranking import NAME, ranking_head
from evenly.curation.align import threshold_of_counts
from evenly.curation.rank import HeadRank, judge_rank
from evenly.storage.artifacts.kinds import adapter_at
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.classes.texts import single
from evenly.tasks.each import Each, Records
from evenly.tasks.encoders import encoder_identity, step_encoder
from evenly.tasks.pictures.observed import rows_of_uids
from evenly.tasks.pictures.pairs import count_scores, send_by_picture
from evenly.tasks.pictures.sent_rows import SentRows
from evenly.tasks.run import Run
from evenly.tasks.step import Step

DIGITS = 6
"""Decimals to which scores are stored, and at which the threshold acts."""


@dataclass(frozen=True, kw_only=True)
class RankFacts:
    """The score of each pair [uid, score], by uid, and the one that a pair must reach."""

    scores: SentRows
    threshold: float


def score_pictures(run: Run, upstream: Records, rule: HeadRank, each: Each) -> RankFacts:
    """Score every pair's picture, and choose the threshold: each score that occurs is counted."""
    scores = send_by_picture(run, each, "ranking pictures", partial(_shown, upstream), partial(_scored, rule.adapter))
    try:
        counts = [] if rule.keep_top is None else each.partitions("counting scores", partial(count_scores, scores))
        return RankFacts(scores=scores, threshold=threshold_of_counts(counts, rule))
    except BaseException:
        scores.release()
        raise


def rank_pairs(run: Run, upstream: Records, _rule: HeadRank, facts: RankFacts) -> StepOutput:
    """Judge each pair by the score of its picture; the value is the score.

    Each picture's score depends on it alone; with `keep_top` the threshold depends on all.
    """
    uids = run.ledger.alive(upstream, [])["uid"].combine_chunks()
    scores = rows_of_uids(facts.scores.of(run), uids)["score"].combine_chunks()
    return StepOutput(decisions=judge_rank(scores, facts.threshold).to_table(uids))


def describe_head(run: Run, _upstream: Records, rule: HeadRank, facts: RankFacts) -> StepOutput:
    """Notes: the threshold, what the head orders."""
    head, card = open_head(run, rule.adapter)
    threshold = facts.threshold if np.isfinite(facts.threshold) else None
    return StepOutput(notes={"threshold": threshold, "fallback": head.fallback_, "why": card["why"]})


def release_ranking(facts: RankFacts) -> None:
    """Remove the scores that were sent."""
    facts.scores.release()


def _shown(upstream: Records, run: Run) -> pa.Table:
    return run.ledger.alive(upstream, ["image_id"])


def _scored(adapter: str, run: Run, pairs: pa.Table) -> pa.Table:
    ids = pairs["image_id"].combine_chunks()
    different, scores = ids.unique(), np.empty(0)
    if len(ids):
        encoder = encoder_identity(run)
        rows = single(FeatureStore(run.workspace, encoder, "images").read(different)[0])
        head, _ = open_head(run, adapter)
        scores = np.round(head.score(Features(image=rows, encoder=encoder)), DIGITS)
    return pa.table({"uid": pairs["uid"], "score": pa.array(scores, pa.float64()).take(pc.index_in(ids, different))})


def open_head(run: Run, location: str) -> tuple[RankingHead, dict[str, Any]]:
    """The ranking head in the folder `location`, or behind the card of this name, and its card.

    Raises InputError where it is another adapter, or was fitted on features of another encoder than the run's or on
    such as do not say by which they were made.
    """
    path = Path(run.locate(location))
    card, arrays = adapter_at(path)
    if card["adapter"] != NAME:
        raise InputError(
            f"`rank.adapter` must be a ranking head; got `{path}`, which is `{card['adapter']}`. "
            "Fit one: evenly fit --arrays graded.npz --adapter ranking --out FOLDER"
        )
    head, encoder = ranking_head(arrays, card), encoder_identity(run)
    if head.encoder_ != encoder:
        raise InputError(
            f"`rank.adapter` must be fitted on features of the recipe's encoder, {encoder[:12]}; got "
            f"{head.encoder_[:12] or 'features that do not say'}. "
            "Extract them with `evenly extract --images`, and fit again."
        )
    return head, card


def _head(run: Run, _upstream: Records, rule: HeadRank) -> dict[str, str]:
    _, card = open_head(run, rule.adapter)
    return {"head": content_hash({name: card.get(name) for name in ("arrays_sha256", "learned", "parameters")})}


def _check_ready(run: Run, rule: HeadRank) -> None:
    open_head(run, rule.adapter)


RANK = Step(
    name="rank",
    rule=HeadRank,
    resolve=score_pictures,
    judge=rank_pairs,
    shared=describe_head,
    release=release_ranking,
    inputs=_head,
    model=step_encoder,
    ready=_check_ready,
)
