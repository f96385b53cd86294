"""The share of the captions with a name that mean the concept, estimated from judged ones (REAL).

Parashar et al., The Neglected Tails in Vision-Language Models, CVPR 2024, arXiv:2401.12425.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenly.curation.draws import wilson_interval
from evenly.curation.errors import ColumnsError, RuleError


@dataclass(frozen=True, kw_only=True)
class JudgingRule:
    """The number of captions to judge of a concept: `enough`, `enough_yes` of them relevant, or `most` in all."""

    most: int = 10_000
    enough: int = 1_000
    enough_yes: int = 200

    def __post_init__(self) -> None:
        for name in ("most", "enough", "enough_yes"):
            if getattr(self, name) < 1:
                raise RuleError(f"`{name}` must be at least 1; got {getattr(self, name)}. Judge a caption or more.")

    def is_enough(self, judged: int, yes: int) -> bool:
        """Whether no more need to be judged."""
        return judged >= self.most or (judged >= self.enough and yes >= self.enough_yes)


@dataclass(frozen=True, kw_only=True)
class Relevance:
    """A share with its 95 % interval, and how many independent judgements would be worth as much."""

    share: float
    low: float
    high: float
    effective: float


def estimate_relevance(answers: Sequence[bool], rows: Sequence[int]) -> Relevance | None:
    """The share of rows whose caption is relevant; None without a judgement.

    `answers` (n,): whether each of n different captions is relevant; `rows` (n,): the number of rows with it, by which
    it is weighted. The interval is Wilson's for (sum of rows)^2 / (sum of their squares) judgements (Kish), which is n
    where no caption stands twice. It holds the chance of the sample, not the errors of the judge.
    """
    weights = np.asarray(rows, dtype=np.float64)
    if len(answers) != len(weights) or (weights < 1).any():
        raise ColumnsError(f"`rows` must hold a number of rows for each of the {len(answers)} answers; got {rows!r}.")
    if not len(weights):
        return None
    share = float(weights[np.asarray(answers, dtype=np.bool_)].sum() / weights.sum())
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    low, high = wilson_interval(share, effective)
    return Relevance(share=share, low=low, high=high, effective=effective)
