"""Captions of a sensible number of characters. Source: the basic filter of DataComp (more than 5), made two-sided."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError


@dataclass(frozen=True, kw_only=True)
class CaptionCharacters:
    """Keep captions of `min_characters` to `max_characters` code points, both included; None: no upper bound.

    Every character counts, white space at both ends too, as in DataComp.
    """

    min_characters: int = 6
    max_characters: int | None = None

    def __post_init__(self) -> None:
        if self.min_characters < 1 or (self.max_characters is not None and self.max_characters < self.min_characters):
            bounds = f"{self.min_characters} to {self.max_characters}"
            raise RuleError(
                f"`characters` must be 1 <= min_characters <= max_characters; got {bounds}. Correct the recipe."
            )


def measure_characters(batch: pa.Table, rule: CaptionCharacters) -> pa.Array:  # noqa: ARG001 - the shape of a filter
    """Return the number of characters of each `caption`, as doubles; a null caption has none."""
    return pc.utf8_length(pc.fill_null(column(batch, "caption", pa.string()), "")).cast(pa.float64())


def judge_characters(values: pa.Array, rule: CaptionCharacters) -> Decisions:
    """Judge counts: reasons too_few_characters and too_many_characters."""
    most = float("inf") if rule.max_characters is None else rule.max_characters
    long = pc.if_else(pc.greater(values, most), "too_many_characters", "")
    return Decisions.of(
        reason=pc.if_else(pc.less(values, rule.min_characters), "too_few_characters", long), value=values
    )
