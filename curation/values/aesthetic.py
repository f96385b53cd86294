"""A linear head on features of pictures, as the first LAION aesthetic predictor is one on those of CLIP."""

from dataclasses import dataclass

import numpy as np

from evenly.bounds import LocalPath
from evenly.curation.arrays import Floats, Rows
from evenly.curation.errors import RuleError
from evenly.curation.values.negclip_loss import unit_singles


@dataclass(frozen=True, kw_only=True)
class Aesthetic:
    """The score of the linear `head`, a safetensors file with `weight` and `bias`, fitted to such features."""

    head: LocalPath

    def __post_init__(self) -> None:
        if not self.head.endswith(".safetensors"):
            raise RuleError(
                f"`head` must be a .safetensors file; got `{self.head}`. Write the tensors weight (1, d) and bias (1,)."
            )


def linear_scores(rows: Rows, weight: Floats, bias: float) -> Floats:
    """Weight . x + bias (n,) of each of the rows x, made unit again; `weight` (d,)."""
    return np.asarray((unit_singles(rows).astype(np.float64) * weight).sum(axis=1) + bias)
