"""Keep pairs whose picture and caption agree, by their image-text score (DataComp's clip_score filter)."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.decisions import Decisions
from curation.errors import RuleError


@dataclass(frozen=True, kw_only=True)
class Align:
    """Exactly one of `keep_top` (a share in (0, 1]) and `min_score` (a cosine)."""

    keep_top: float | None = None
    min_score: float | None = None

    def __post_init__(self) -> None:
        if (self.keep_top is None) == (self.min_score is None):
            raise RuleError("`align` must have exactly one of keep_top and min_score; got both or none. Choose one.")
        if self.keep_top is not None and not 0 < self.keep_top <= 1:
            raise RuleError(f"`keep_top` must be in (0, 1]; got {self.keep_top}. Write 0.3 for the best 30 %.")


def resolve_threshold(scores: pa.Array, rule: Align) -> float:
    """The score that a pair must reach: the rule's, or the one at index int(n * keep_top) of the falling scores.

    DataComp's rule: ties are kept, so more than the share may stay. keep_top = 1 keeps all, where the public code fails.
    """
    if rule.min_score is not None:
        return rule.min_score
    values = np.sort(scores.drop_null().to_numpy(zero_copy_only=False))[::-1]
    if not len(values) or rule.keep_top is None:
        return float("-inf")
    return float(values[min(int(len(values) * rule.keep_top), len(values) - 1)])


def judge_alignment(scores: pa.Array, threshold: float) -> Decisions:
    """Judge scores against the threshold: below it, or null, goes as low_score."""
    keep = pc.fill_null(pc.greater_equal(scores, threshold), False)
    return Decisions.of(reason=pc.if_else(keep, "", "low_score"), value=scores)
