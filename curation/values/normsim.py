"""NormSim (Wang et al. 2024, arXiv:2405.19547): how near a picture is to those of a target set.

The p-norm of the cosines of a picture and all pictures of the target: for p = 2 the root of the variance alignment
score (VAS, arXiv:2402.02055), for p = inf the largest of them without sign.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from evenly.bounds import LocalPath, check_bounds
from evenly.curation.arrays import Floats, Rows, Singles
from evenly.curation.errors import RuleError
from evenly.curation.exclusions.clusters import exact_nearest
from evenly.curation.values.negclip_loss import unit_singles

_SCORES = 1 << 24
"""Cosines that are made at once."""


@dataclass(frozen=True, kw_only=True)
class NormSim:
    """The 2-norm or maximum norm of cosines with `target`: a folder, Parquet of pictures, or file of features."""

    target: LocalPath
    norm: Literal[2, "inf"] = 2

    def __post_init__(self) -> None:
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A target to hold pictures against: the sum of outer products (d, d) of its rows, or these and their opposites."""

    products: Floats | None = None
    rows: Singles | None = None

    @classmethod
    def of(cls, rows: Rows, rule: NormSim) -> "Target":
        """Of the features of the target's pictures."""
        units = unit_singles(rows)
        if rule.norm == "inf":
            return cls(rows=np.concatenate([units, -units]))
        doubles = units.astype(np.float64)
        return cls(products=doubles.T @ doubles)

    def norms(self, rows: Rows) -> Floats:
        """The value (n,) of each of the rows (n, d)."""
        units = unit_singles(rows)
        if self.products is not None:
            doubles = units.astype(np.float64)
            return np.asarray(np.sqrt(np.maximum(((doubles @ self.products) * doubles).sum(axis=1), 0)))
        if self.rows is None:
            raise TypeError("a target must have products or rows")
        step = max(1, _SCORES // len(self.rows))
        parts = [exact_nearest(units[start : start + step], self.rows)[1] for start in range(0, len(units), step)]
        return np.concatenate([np.empty(0), *parts])
