"""NormSim-D (Wang et al. 2024, arXiv:2405.19547; VAS-D of arXiv:2402.02055): NormSim to the remaining pairs.

The target is all pictures at first. In each round the pairs go whose pictures are least near to it, and the pictures
of the others are the next target. The value is the share of all pairs that goes before a pair does: the best share of
pairs by it is what the published method keeps when it prunes to that share.

Rows are made whole numbers of 15 bits, so that the products of any pairs add up to the same in any order.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from evenly.bounds import check_bounds
from evenly.curation.arrays import Floats, Ints, Rows
from evenly.curation.errors import RuleError
from evenly.curation.values.negclip_loss import unit_singles

_ROW = 1 << 15
_MEAN = 1 << 37
"""A unit row times a matrix of trace 1, at both scales, stays below 2**53, up to which doubles count exactly."""
_BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class NormSimD:
    """All pairs go in `rounds`, equally many in each."""

    rounds: Annotated[int, Ge(1)] = 100

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


def pruned_values(parts: Callable[[], Iterable[Rows]], rule: NormSimD) -> Floats:
    """The value (n,) of each of the rows that `parts` gives, again whenever it is called.

    Of rows that are equally near the first goes first.
    """
    sizes = [len(rows) for rows in parts()]
    n, cuts = sum(sizes), np.cumsum(sizes)[:-1]
    values, left, size = np.empty(n), np.ones(n, np.bool_), max(1, -(-n // rule.rounds))
    products = _products(parts(), np.split(left, cuts))
    for n_pruned in range(0, n, size):
        mean = np.rint(products / (float(n - n_pruned) * _ROW**2) * _MEAN)
        chosen = zip(parts(), np.split(left, cuts), strict=True)
        nearness = np.concatenate([_nearness(rows[are_left], mean) for rows, are_left in chosen])
        going = np.flatnonzero(left)[np.argsort(nearness, kind="stable")[:size]]
        values[going] = (n_pruned + np.arange(len(going))) / n
        are_going = np.zeros(n, np.bool_)
        are_going[going] = True
        left &= ~are_going
        products -= _products(parts(), np.split(are_going, cuts))
    return values


def _products(parts: Iterable[Rows], chosen: Iterable[npt.NDArray[np.bool_]]) -> Ints:
    """The sum of the outer products (d, d) of the chosen rows with themselves."""
    products = np.zeros((), np.int64)
    for rows, are_chosen in zip(parts, chosen, strict=True):
        for block in _whole(rows[are_chosen]):
            products = products + (block.T @ block).astype(np.int64)
    return products


def _nearness(rows: Rows, mean: Floats) -> Floats:
    """The mean of the squared cosines (m,) of each of the rows with the target, at a scale of its own."""
    return np.concatenate([np.empty(0), *(((block @ mean) * block).sum(axis=1) for block in _whole(rows))])


def _whole(rows: Rows) -> Iterable[Floats]:
    """The rows as whole numbers, a block at a time."""
    for start in range(0, len(rows), _BLOCK):
        yield np.rint(unit_singles(rows[start : start + _BLOCK]).astype(np.float64) * _ROW)
