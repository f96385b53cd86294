"""Images with enough pixels. Source: the basic filter of DataComp (smaller side at least 200 pixels)."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """Keep images whose smaller side is at least `min_side` pixels."""

    min_side: int = 64

    def __post_init__(self) -> None:
        if self.min_side < 1:
            raise RuleError(f"`min_side` must be at least 1 pixel; got {self.min_side}. Correct the recipe.")


def measure_image_size(batch: pa.Table, rule: ImageSize) -> pa.Array:  # noqa: ARG001 - the shape of a filter
    """Return the smaller of `width` and `height` in pixels, as doubles; null where one is null."""
    width, height = column(batch, "width", pa.float64()), column(batch, "height", pa.float64())
    return pc.min_element_wise(width, height, skip_nulls=False)


def judge_image_size(values: pa.Array, rule: ImageSize) -> Decisions:
    """Judge smaller sides: reason too_small; a null fails as not_measured."""
    small = pc.if_else(pc.less(values, rule.min_side), "too_small", "")
    return Decisions.of(reason=pc.fill_null(small, "not_measured"), value=values, failed=values.is_null())
