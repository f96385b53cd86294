"""Captions that repeat themselves: lists of search words, and captions of a model that was trained on a score.

Source: repeated n-grams, the failure that CLIP-reward captioners show (Cho et al. 2022, arXiv:2205.13115).
"""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError


@dataclass(frozen=True, kw_only=True)
class CaptionRepeats:
    """Keep captions of whose runs of `n` words at most the share `max_share` repeats an earlier run.

    Words are what white space separates, case folded. A run may overlap the one that it repeats.
    """

    n: int = 2
    max_share: float = 0.3

    def __post_init__(self) -> None:
        if self.n < 1:
            raise RuleError(f"`n` must be at least 1 word; got {self.n}. Correct the recipe.")
        if not 0 <= self.max_share <= 1:
            raise RuleError(f"`max_share` must be in [0, 1]; got {self.max_share}. Write 0.3 for 30 %.")


def measure_repeats(batch: pa.Table, rule: CaptionRepeats) -> pa.Array:
    """Return the share in [0, 1), 4 digits, of runs that repeat an earlier one; 0 where a caption has no run."""
    captions = pc.fill_null(column(batch, "caption", pa.string()), "").to_pylist()
    return pa.array([_share(caption, rule.n) for caption in captions], pa.float64())


def judge_repeats(values: pa.Array, rule: CaptionRepeats) -> Decisions:
    """Judge shares: above the rule's goes as repeated_words."""
    return Decisions.of(reason=pc.if_else(pc.greater(values, rule.max_share), "repeated_words", ""), value=values)


def _share(caption: str, n: int) -> float:
    words = caption.casefold().split()
    if len(set(words)) == len(words):
        return 0.0
    runs = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return round(1 - len(set(runs)) / len(runs), 4) if runs else 0.0
