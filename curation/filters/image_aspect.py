"""Images with sides of similar length. Source: the basic filter of DataComp (at most 3 times the shorter side)."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError


@dataclass(frozen=True, kw_only=True)
class ImageAspect:
    """Keep images whose longer side is at most `max_aspect` times the shorter."""

    max_aspect: float = 3.0

    def __post_init__(self) -> None:
        if not self.max_aspect >= 1:
            raise RuleError(f"`max_aspect` must be at least 1; got {self.max_aspect}. Correct the recipe.")


def measure_aspect(batch: pa.Table, rule: ImageAspect) -> pa.Array:  # noqa: ARG001 - the shape of a filter
    """Return the longer side over the shorter, at least 1; null where a side is null or not positive."""
    width, height = column(batch, "width", pa.float64()), column(batch, "height", pa.float64())
    shorter = pc.min_element_wise(width, height, skip_nulls=False)
    longer = pc.max_element_wise(width, height, skip_nulls=False)
    positive = pc.if_else(pc.greater(shorter, 0), shorter, pa.scalar(None, pa.float64()))
    return pc.divide(longer, positive)


def judge_aspect(values: pa.Array, rule: ImageAspect) -> Decisions:
    """Judge aspects: reason aspect; a null fails as not_measured."""
    strip = pc.if_else(pc.greater(values, rule.max_aspect), "aspect", "")
    return Decisions.of(reason=pc.fill_null(strip, "not_measured"), value=values, failed=values.is_null())
