"""CapS-Adapter: TIP-X on a cache of support images and their captions."""

from dataclasses import dataclass, field
from typing import ClassVar, get_args

import numpy as np

from evenly.adapters.contract import Grid, check_positive
from evenly.adapters.errors import MissingFeaturesError, ParameterError
from evenly.adapters.evaluation.measures.classification import log_softmax
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.divergence import DivergenceCache, KlOver
from evenly.adapters.forms.key_cache import class_order, mean_rows
from evenly.adapters.methods.tipx import PUBLISHED_AXES


@dataclass(kw_only=True, eq=False)
class CapS(DivergenceCache):
    """TIP-X with affinities A = (1 - `delta`) x K_img^T + `delta` x K_cap^T (M-Adapter, arXiv:2405.16591).

    K_img as in TIP-X, K_cap the `captions` of the support rows, which `fit` needs; a judged row needs none. `delta` 0
    is TIP-X, 1 compares images with captions only; the divergences stay between images, as published. `delta` acts
    before the range of the affinities is taken, so it is fitted anew. `kl_over` "classes" is the method as described;
    "dimensions" is the published code, which takes the softmax of the features instead of that of the classes. Rows and
    captions come aligned by row: no file name is parsed here (the published loader reads "1_10" and "11_0" as one
    number and swaps captions). Captions made from labelled images are labels: do not call such a support name-only.
    The rest as TIP-X; without a search `delta` is 0.5. No support rows: zero-shot, said in `fallback_`.
    """

    grid: ClassVar[Grid] = Grid(parameters={"delta": tuple(i / 10 for i in range(11)), **PUBLISHED_AXES})
    needs: ClassVar[tuple[str, ...]] = ("prototypes", "captions")
    decided_late: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma")

    delta: float = 0.5
    kl_over: KlOver = "classes"

    caption_keys_: Floats = field(init=False, repr=False)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("delta", self.delta, or_zero=True)
        if self.delta > 1:
            raise ParameterError(f"`delta` must be a number from 0 to 1; got {self.delta!r}. Choose a value in it.")
        if self.kl_over not in get_args(KlOver):
            raise ParameterError(
                f"`kl_over` must be one of {', '.join(get_args(KlOver))}; got {self.kl_over!r}. Choose one of these."
            )

    def _learn(self, features: Features, labels: Integers) -> None:
        if features.captions is None:  # unreachable after the check of `needs`: tells the type checker
            raise MissingFeaturesError("`captions` must be given.")
        rows = mean_rows(features)
        order = class_order(rows, labels)
        self.caption_keys_ = features.captions[order]
        self._learn_cache(rows[order], labels[order])
        if not len(order):
            self.fallback_ = "zero-shot: no support rows"

    def _affinity_keys(self) -> Floats:
        """Images and captions mixed: a product with the mixture is the mixture of the products."""
        images, captions = self.keys_.astype(np.float64), self.caption_keys_.astype(np.float64)
        return np.asarray((1 - self.delta) * images + self.delta * captions)

    def _log_profiles(self, rows: Floats) -> Floats:
        if self.kl_over == "classes":
            return super()._log_profiles(rows)
        return log_softmax(rows.astype(np.float64) / self.tau)
