"""Keep pairs whose picture and caption agree, by their image-text score (DataComp's clip_score filter)."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.bounds import Cosine, Wording, check_bounds
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError
from evenly.curation.rank import BestShare, Rank


@dataclass(frozen=True, kw_only=True)
class Align:
    """Exactly one of `keep_top` (a share in (0, 1]) and `min_score` (a cosine)."""

    keep_top: BestShare | None = None
    min_score: Annotated[Cosine, Wording(demand="be a cosine in [-1, 1]")] | None = None

    def __post_init__(self) -> None:
        if (self.keep_top is None) == (self.min_score is None):
            raise RuleError("`align` must have exactly one of keep_top and min_score; got both or none. Choose one.")
        check_bounds(self, RuleError)


def resolve_threshold(scores: pa.Array, rule: Align | Rank) -> float:
    """Return the score that a pair must reach: the rule's, or the one at index int(n * keep_top) in falling order.

    As in DataComp, pairs equal to that score stay, so at least one pair more than the share does. keep_top = 1 keeps
    all, where the public code fails. Nulls do not count in n. Minus infinity where there are no scores.
    """
    if rule.min_score is not None:
        return rule.min_score
    values = np.sort(scores.drop_null().to_numpy(zero_copy_only=False))[::-1]
    if not len(values) or rule.keep_top is None:
        return float("-inf")
    return float(values[min(int(len(values) * rule.keep_top), len(values) - 1)])


def judge_alignment(scores: pa.Array, threshold: float) -> Decisions:
    """Judge scores against the threshold: below it goes as low_score; a null fails as not_measured."""
    low = pc.if_else(pc.less(scores, threshold), "low_score", "")
    return Decisions.of(reason=pc.fill_null(low, "not_measured"), value=scores, failed=scores.is_null())
