"""Keep pairs by the score that a saved ranking head gives their picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evenly.adapters.features import Features
from evenly.adapters.ranking import RankingHead
from evenly.adapters.saved_ranking import NAME, ranking_head
from evenly.curation.align import resolve_threshold
from evenly.curation.rank import HeadRank, judge_rank
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.files.adapters import read_adapter
from evenly.storage.ledger import StepOutput
from evenly.storage.records import content_hash
from evenly.tasks.classes.texts import single
from evenly.tasks.encoders import encoder_identity, step_encoder
from evenly.tasks.run import Run
from evenly.tasks.step import Records, Step, without_defaults

DIGITS = 6
"""Decimals to which scores are stored, and at which the threshold acts."""


def rank_pairs(run: Run, upstream: Records, rule: HeadRank) -> StepOutput:
    """Judge each pair by the score of its picture; the value is the score. Notes: the threshold, what the head orders.

    Each picture's score depends on it alone; with `keep_top` the threshold depends on all.
    """
    head, card = open_head(run, rule.adapter)
    pairs = run.ledger.alive(upstream, ["image_id"])
    encoder = encoder_identity(run)
    rows = single(FeatureStore(run.workspace, encoder, "images").read(pairs["image_id"].to_pylist())[0])
    scores = np.round(head.score(Features(image=rows, encoder=encoder)), DIGITS) if len(rows) else np.empty(0)
    stored = pa.array(scores, pa.float64())
    threshold = resolve_threshold(stored, rule)
    decisions = judge_rank(stored, threshold).to_table(pairs["uid"])
    notes = {"threshold": threshold if np.isfinite(threshold) else None, "fallback": head.fallback_, "why": card["why"]}
    return StepOutput(decisions=decisions, notes=notes)


def open_head(run: Run, location: str) -> tuple[RankingHead, dict[str, Any]]:
    """The ranking head in the folder `where`, or behind the card of this name, and its card.

    Raises InputError where it is another adapter, or was fitted on features of another encoder than the run's or on
    such as do not say by which they were made.
    """
    path = Path(run.locate(location))
    folder, name = (path, "adapter") if path.is_dir() else (path.parent, path.stem)
    card, arrays = read_adapter(folder, name)
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
    stored=without_defaults("keep_top", "min_score"),
    compute=rank_pairs,
    inputs=_head,
    model=step_encoder,
    ready=_check_ready,
)
