"""Tip-Adapter: a cache of the support rows, added to zero-shot without training."""

from dataclasses import dataclass
from typing import ClassVar

from evenly.adapters.contract import Grid
from evenly.adapters.features import Features, Integers
from evenly.adapters.forms.cache_adapter import CacheAdapter
from evenly.adapters.forms.key_cache import class_order, mean_rows

PUBLISHED_MAXIMA: dict[str, tuple[float, float]] = {
    "caltech101": (12, 5),
    "dtd": (13, 13),
    "eurosat": (12, 10),
    "fgvc_aircraft": (30, 30),
    "food101": (10, 10),
    "imagenet": (7, 3),
    "oxford_flowers": (50, 50),
    "oxford_pets": (7, 3),
    "stanford_cars": (20, 10),
    "sun397": (12, 10),
    "ucf101": (7, 3),
}
"""Where the published search of (beta, alpha) ends, per data set."""


def published_grid(*, max_beta: float = 7.0, max_alpha: float = 3.0) -> Grid:
    """The published search: 200 betas from 0.1 up to `max_beta`, by 20 alphas from 0.1 up to `max_alpha`.

    Both ends are excluded, as published. The defaults are ImageNet's; PUBLISHED_MAXIMA has the other data sets'.
    """
    return Grid(
        parameters={
            "beta": tuple(0.1 + i * (max_beta - 0.1) / 200 for i in range(200)),
            "alpha": tuple(0.1 + i * (max_alpha - 0.1) / 20 for i in range(20)),
        }
    )


@dataclass(kw_only=True, eq=False)
class Tip(CacheAdapter):
    """logits = zero-shot + `alpha` * exp(-`beta` (1 - x K^T)) Y (Zhang et al., ECCV 2022, arXiv:2207.09519).

    Keys K: the normalised mean of the augmented views of each support row where `views` are given, else the images; Y
    one-hot. The defaults are the published start on ImageNet, the grid is ImageNet's published one (`published_grid`
    makes those of other data sets). Differs from the published code: alpha and beta are searched on validation rows
    for every data set (there ImageNet is searched on test); Y has a column for every class, also for one without
    support; float64 throughout. No support rows: zero-shot, said in `fallback_`.
    """

    grid: ClassVar[Grid] = published_grid()

    def _learn(self, features: Features, labels: Integers) -> None:
        keys = mean_rows(features)
        order = class_order(keys, labels)
        self.keys_, self.key_labels_ = keys[order], labels[order]
        self.fallback_ = "" if len(order) else "zero-shot: no support rows"
