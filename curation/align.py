"""Keep pairs whose picture and caption agree, by their image-text score (DataComp's clip_score filter)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.bounds import Cosine, Wording, check_bounds
from evenly.curation.arrays import column, taken_rows
from evenly.curation.decisions import Decisions
from evenly.curation.encoder_name import StepModel
from evenly.curation.errors import RuleError
from evenly.curation.rank import BestShare, HeadRank, Rank, judge_rank
from evenly.curation.step import (
    FinishedStep,
    Given,
    Judged,
    Judgement,
    PartTables,
    Rejudging,
    always,
    caption_in_force,
    fixed_fields,
    gives,
    of_features,
)


@dataclass(frozen=True, kw_only=True)
class Align:
    """Exactly one of `keep_top` (a share in (0, 1]) and `min_score` (a cosine).

    model: the encoder whose scores they are; None: the build's.
    """

    keep_top: BestShare | None = None
    min_score: Annotated[Cosine, Wording(demand="be a cosine in [-1, 1]")] | None = None
    model: StepModel | None = None

    def __post_init__(self) -> None:
        if (self.keep_top is None) == (self.min_score is None):
            raise RuleError("`align` must have exactly one of keep_top and min_score; got both or none. Choose one.")
        check_bounds(self, RuleError)


def threshold_of_counts(counts: Sequence[pa.Table], rule: Align | Rank) -> float:
    """Return the score that a pair must reach: the rule's, or the one at index int(n * keep_top) in falling order.

    `counts` say how often each score occurs in a part of the pairs [values, counts], nulls left out; n is their sum. As
    in DataComp, pairs equal to that score stay, so at least one pair more than the share does. keep_top = 1 keeps all,
    where the public code fails. Minus infinity where there are no scores.
    """
    if rule.min_score is not None:
        return rule.min_score
    threshold = None if rule.keep_top is None else top_threshold(counts, rule.keep_top)
    return float("-inf") if threshold is None else threshold


def top_threshold(counts: Sequence[pa.Table], keep_top: float) -> float | None:
    """The number at index int(n * keep_top) in falling order, of those that parts count; None where there is none."""
    values, numbers = (np.concatenate([part[name].to_numpy() for part in counts]) for name in ("values", "counts"))
    n = int(numbers.sum())
    if not n:
        return None
    order = np.argsort(values)[::-1]
    index = min(int(n * keep_top), n - 1)
    return float(values[order][np.searchsorted(np.cumsum(numbers[order]), index, side="right")])


def resolve_threshold(scores: pa.Array, rule: Align | Rank) -> float:
    """Return `threshold_of_counts` of scores; nulls do not count."""
    values, numbers = np.unique(scores.drop_null().to_numpy(zero_copy_only=False), return_counts=True)
    return threshold_of_counts([pa.table({"values": values, "counts": numbers})], rule)


def judge_alignment(scores: pa.Array, threshold: float) -> Decisions:
    """Judge scores against the threshold: below it goes as low_score; a null fails as not_measured."""
    low = pc.if_else(pc.less(scores, threshold), "low_score", "")
    return Decisions.of(reason=pc.fill_null(low, "not_measured"), value=scores, failed=scores.is_null())


@contextmanager
def _open(judge_scores: Callable[[pa.Array, float], Decisions], inputs: Given) -> Iterator[Rejudging]:
    """By the stored scores, and the threshold that all of these give, or that was noted."""
    threshold, counted = inputs.notes.get("threshold"), inputs.recounts or "threshold" not in inputs.notes
    if counted:
        parts = inputs.each(f"counting scores of {inputs.record.name}", partial(_counted, inputs))
        threshold = threshold_of_counts(parts, inputs.rule)
    threshold = float("-inf") if threshold is None else threshold

    def judge(tables: PartTables) -> Judged:
        uids, scores = _scored(inputs, tables)
        detail = f"stored score held against the {'' if counted else 'noted '}threshold {threshold:.4f} of all scores"
        return Judged(uids=uids, decisions=judge_scores(scores, threshold), detail=detail)

    yield Rejudging(judge=judge, notes={"threshold": threshold if np.isfinite(threshold) else None})


def _counted(inputs: Given, tables: PartTables) -> pa.Table:
    values, counts = np.unique(_scored(inputs, tables)[1].drop_null().to_numpy(), return_counts=True)
    return pa.table({"values": values, "counts": counts})


def _scored(inputs: Given, tables: PartTables) -> tuple[pa.Array, pa.Array]:
    """The uids of pairs, and the score of each: that of its chosen caption, else the one that the step stored."""
    is_chosen = inputs.record.name == ALIGN.name and not _is_measured(inputs.upstream, inputs.rule)
    pairs = tables.alive(inputs.upstream, [_CAPTION_SCORE] if is_chosen else [])
    uids = column(pairs, "uid", pa.string())
    if is_chosen:
        return uids, column(pairs, _CAPTION_SCORE, pa.float64())
    return uids, taken_rows(tables.decisions(inputs.record, ["uid", "value"]), uids)["value"].combine_chunks()


def _is_measured(upstream: Sequence[FinishedStep], rule: Align) -> bool:
    """Whether the step scores pairs itself; else the choice of captions has, by the same encoder."""
    return rule.model is not None or not gives(upstream, _CAPTION_SCORE)


def _moved(rule: Align | Rank, judged: Judged, unknown: int) -> tuple[int, int]:
    """Pairs that may leave where others have the best scores, and that may come back where these have the worst."""
    if rule.keep_top is None:
        return 0, 0
    scores = np.sort(judged.decisions.value.drop_null().to_numpy())[::-1]
    kept, n = pc.sum(judged.decisions.kept).as_py() or 0, len(scores)
    if not n:
        return 0, 0
    index = min(int((n + unknown) * rule.keep_top), n + unknown - 1)
    fewest, most = (
        int(np.searchsorted(-scores, -scores[place], side="right")) if place >= 0 else 0
        for place in (index - unknown, min(index, n - 1))
    )
    return kept - fewest, most - kept


_scores: Callable[..., Judgement] = partial(
    Judgement,
    value="score",
    label="re-checked",
    needs=of_features,
    of_all=lambda rule: rule.keep_top is not None,
    moved=_moved,
)
_CAPTION_SCORE = "caption_score"
"""The column of the choice of captions that has the score of each."""
ALIGN = _scores(
    name="align",
    section="align",
    rule=Align,
    question="Do picture and caption belong together?",
    rejudge=partial(_open, judge_alignment),
    measures=_is_measured,
    measured_of=caption_in_force,
    fixed=fixed_fields("model"),
)
RANK = _scores(
    name="rank",
    section="rank",
    rule=HeadRank,
    question="Does the picture show enough of the attribute?",
    rejudge=partial(_open, judge_rank),
    measures=always,
    fixed=fixed_fields("adapter", "model"),
)
