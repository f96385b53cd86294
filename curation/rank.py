"""Keep pairs by how much of an attribute their picture shows: the score of a ranking head (count, age, quality)."""

from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc

from evenly.bounds import FINITE, Share, Wording, check_bounds
from evenly.curation.decisions import Decisions
from evenly.curation.encoder_name import StepModel
from evenly.curation.errors import RuleError

BestShare = Annotated[Share, Wording(demand="be in (0, 1]", remedy="Write 0.3 for the best 30 %.")]


@dataclass(frozen=True, kw_only=True)
class Rank:
    """Exactly one of `keep_top` (a share in (0, 1], ties kept) and `min_score`, in the units of the head's scores."""

    keep_top: BestShare | None = None
    min_score: Annotated[float, FINITE] | None = None

    def __post_init__(self) -> None:
        if (self.keep_top is None) == (self.min_score is None):
            raise RuleError("`rank` must have exactly one of keep_top and min_score; got both or none. Choose one.")
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True)
class HeadRank(Rank):
    """A Rank by the head in the folder `adapter`, as `evenly fit --arrays graded.npz --adapter ranking` wrote it.

    model: the encoder on whose features it was fitted; None: the build's.
    """

    adapter: str
    model: StepModel | None = None


def judge_rank(scores: pa.Array, threshold: float) -> Decisions:
    """Judge scores against the threshold: below it goes as low_rank; a null fails as not_measured."""
    low = pc.if_else(pc.less(scores, threshold), "low_rank", "")
    return Decisions.of(reason=pc.fill_null(low, "not_measured"), value=scores, failed=scores.is_null())
