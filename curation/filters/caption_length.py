"""Captions of a sensible number of words. Source: the basic filter of DataComp (more than 2 words), made two-sided."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError


@dataclass(frozen=True, kw_only=True)
class CaptionLength:
    """Keep captions of `min_words` to `max_words` words, both included; None: no upper bound.

    A word is what white space separates.
    """

    min_words: int = 3
    max_words: int | None = 60

    def __post_init__(self) -> None:
        if self.min_words < 1 or (self.max_words is not None and self.max_words < self.min_words):
            bounds = f"{self.min_words} to {self.max_words}"
            raise RuleError(f"`words` must be 1 <= min_words <= max_words; got {bounds}. Correct the recipe.")


def measure_caption_length(batch: pa.Table, rule: CaptionLength) -> pa.Array:  # noqa: ARG001 - the shape of a filter
    """Return the number of words of each `caption`, as doubles; a null caption has none."""
    captions = pc.utf8_trim_whitespace(pc.fill_null(column(batch, "caption", pa.string()), ""))
    words = pc.list_value_length(pc.utf8_split_whitespace(captions))
    return pc.if_else(pc.equal(captions, ""), 0, words).cast(pa.float64())


def judge_caption_length(values: pa.Array, rule: CaptionLength) -> Decisions:
    """Judge word counts: reasons empty_caption, too_few_words and too_many_words."""
    most = float("inf") if rule.max_words is None else rule.max_words
    long = pc.if_else(pc.greater(values, most), "too_many_words", "")
    short = pc.if_else(pc.less(values, rule.min_words), "too_few_words", long)
    return Decisions.of(reason=pc.if_else(pc.equal(values, 0), "empty_caption", short), value=values)
