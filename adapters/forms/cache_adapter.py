"""The form of the cache adapters: zero-shot plus the answers of keys, one per support image, summed per class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from evenly.adapters.contract import CHUNK_ROWS, Adapter, check_positive
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.cache_counts import Weights, grid_counts
from evenly.adapters.forms.key_cache import KeyColumns, key_columns
from evenly.adapters.methods.zero_shot import cosine_logits


@dataclass(kw_only=True, eq=False)
class CacheAdapter(Adapter):
    """logits = zero-shot + `alpha` * sum over the keys of each class of exp(-`beta` (1 - x k)) [+ gamma * further].

    `keys_` (k, d) are the learned keys and `key_labels_` (k,) their classes, in an order that does not depend on that
    of the support rows. A class without keys gets no evidence and keeps its column. Both weights act after `fit`.
    """

    decided_late: ClassVar[tuple[str, ...]] = ("alpha", "beta")

    alpha: float = 1.17
    beta: float = 1.0

    keys_: Floats = field(init=False, repr=False)
    key_labels_: Integers = field(init=False, repr=False)

    def sweep(self, features: Features, points: Sequence[Mapping[str, Any]]) -> Iterator[Floats]:
        """Logits at each point; neighbours of equal beta share the cache's answers."""
        self._check_fitted_on(features)
        columns, base, further = self._columns(), self._zero_shot(features), self._further(features)
        cached: tuple[float, Floats] | None = None
        for point in self._weights(points):
            if cached is None or cached[0] != point.beta:
                cached = point.beta, columns.evidence(features.image, point.beta)
            yield _weighed(base, cached[1], further, point).astype(np.float32)

    def correct_counts(
        self, features: Features, labels: Integers, points: Sequence[Mapping[str, Any]], *, chunk_rows: int = CHUNK_ROWS
    ) -> Integers:
        """Rows predicted right at each of `points` (p,), counted without making the logits of each.

        Equals the counts of `sweep` but for rows whose two best logits tie within rounding.
        """
        self._check_fitted_on(features)
        check_positive("chunk_rows", chunk_rows, integer=True)
        weights, columns = self._weights(points), self._columns()
        counts = np.zeros(len(weights), dtype=np.int64)
        size = min(chunk_rows, columns.chunk_rows)
        for start in range(0, len(features), size):
            rows = slice(start, start + size)
            part = features.rows(rows)
            base, further = self._zero_shot(part), self._further(part)
            counts += grid_counts(columns, part.image, labels[rows], weights, base=base, further=further)
        return counts

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("alpha", self.alpha, or_zero=True)
        check_positive("beta", self.beta, or_zero=True)

    def _logits(self, features: Features) -> Floats:
        evidence = self._columns().evidence(features.image, self.beta)
        return _weighed(self._zero_shot(features), evidence, self._further(features), self._current_weights())

    def _columns(self) -> KeyColumns:
        """The keys by class."""
        return key_columns(self._affinity_keys(), self.key_labels_, n_classes=len(self.prototypes_))

    def _affinity_keys(self) -> Floats:
        """The matrix (k, d) that images are multiplied with: here the keys."""
        return self.keys_

    def _zero_shot(self, features: Features) -> Floats:
        return cosine_logits(features.image, self.prototypes_, self.logit_scale)

    def _further(self, features: Features) -> Floats:
        """The term (m, c), float64, that gamma weighs: here nothing."""
        return np.zeros((len(features), len(self.prototypes_)))

    def _current_weights(self) -> Weights:
        return Weights(self.alpha, self.beta)

    def _weights(self, points: Sequence[Mapping[str, Any]]) -> list[Weights]:
        """The weights at each point, which may leave some as they are."""
        original = self.get_params()

        def at(point: Mapping[str, Any]) -> Weights:
            self.set_params(**{**original, **point})
            return self._current_weights()

        try:
            return [at(point) for point in points]
        finally:
            self.set_params(**original)


def _weighed(base: Floats, evidence: Floats, further: Floats, point: Weights) -> Floats:
    """The logits (m, c), float64; exactly `base` where the weights are 0."""
    return np.asarray(base + point.alpha * evidence + point.gamma * further)
