"""Keep pairs by the score that a saved ranking head gives their picture."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.adapters.features import Features
from evenly.adapters.ranking import RankingHead
from evenly.adapters.saved_ranking import NAME, ranking_head
from evenly.curation import align
from evenly.curation.rank import HeadRank, judge_rank
from evenly.storage.artifacts.kinds import adapter_at
from evenly.storage.errors import InputError
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.classes.texts import single
from evenly.tasks.encoders import encoder_identity, step_encoder
from evenly.tasks.pictures.encoded import pictures_of
from evenly.tasks.pictures.pairs import ScoreFacts, send_by_picture
from evenly.tasks.pictures.sent_rows import alive
from evenly.tasks.run import Each, Records, Run
from evenly.tasks.step import Step

DIGITS = 6
"""Decimals to which scores are stored, and at which the threshold acts."""


def score_pictures(run: Run, upstream: Records, rule: HeadRank, engine: Each) -> ScoreFacts:
    """Score every pair's picture, and choose the threshold: each score that occurs is counted."""
    pairs = partial(alive, upstream, ["image_id"])
    scores = send_by_picture(run, engine, "ranking pictures", pairs, partial(_scored, rule.adapter))
    return ScoreFacts.of(scores, rule, engine)


def rank_pairs(run: Run, upstream: Records, _rule: HeadRank, facts: ScoreFacts) -> StepOutput:
    """Judge each pair by the score of its picture; the value is the score.

    Each picture's score depends on it alone; with `keep_top` the threshold depends on all.
    """
    uids = run.ledger.alive(upstream, [])["uid"].combine_chunks()
    return StepOutput(decisions=judge_rank(facts.of_uids(run, uids), facts.threshold).to_table(uids))


def describe_head(run: Run, _upstream: Records, rule: HeadRank, facts: ScoreFacts) -> StepOutput:
    """Notes: the threshold, what the head orders."""
    head, card = open_head(run, rule.adapter)
    return StepOutput(notes={**facts.notes, "fallback": head.fallback_, "why": card["why"]})


def _scored(adapter: str, run: Run, pairs: pa.Table) -> pa.Table:
    (rows, places), scores = pictures_of(run, pairs["image_id"].combine_chunks()), np.empty(0)
    if len(rows):
        head, _ = open_head(run, adapter)
        scores = np.round(head.score(Features(image=single(rows), encoder=encoder_identity(run))), DIGITS)
    return pa.table({"uid": pairs["uid"], "score": pa.array(scores, pa.float64()).take(places)})


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
    name=align.RANK.name,
    rule=HeadRank,
    resolve=score_pictures,
    judge=rank_pairs,
    shared=describe_head,
    inputs=_head,
    model=step_encoder,
    ready=_check_ready,
)
