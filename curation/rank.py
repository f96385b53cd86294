"""Keep pairs by how much of an attribute their picture shows: the score of a ranking head (count, age, quality)."""

import math
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError


@dataclass(frozen=True, kw_only=True)
class Rank:
    """Exactly one of `keep_top` (a share in (0, 1], ties kept) and `min_score`, in the units of the head's scores."""

    keep_top: float | None = None
    min_score: float | None = None

    def __post_init__(self) -> None:
        if (self.keep_top is None) == (self.min_score is None):
            raise RuleError("`rank` must have exactly one of keep_top and min_score; got both or none. Choose one.")
        if self.min_score is not None and not math.isfinite(self.min_score):
            raise RuleError(f"`min_score` must be finite; got {self.min_score}. Correct the recipe.")
        if self.keep_top is not None and not 0 < self.keep_top <= 1:
            raise RuleError(f"`keep_top` must be in (0, 1]; got {self.keep_top}. Write 0.3 for the best 30 %.")


def judge_rank(scores: pa.Array, threshold: float) -> Decisions:
    """Judge scores against the threshold: below it goes as low_rank; a null fails as not_measured."""
    low = pc.if_else(pc.less(scores, threshold), "low_rank", "")
    return Decisions.of(reason=pc.fill_null(low, "not_measured"), value=scores, failed=scores.is_null())
