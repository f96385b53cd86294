"""Divergence of the class distributions of a row and of each support row: what TIP-X adds to a cache."""

from dataclasses import dataclass, field
from typing import Literal, Self

import numpy as np

from evenly.adapters.contract import check_positive
from evenly.adapters.evaluation.measures.classification import log_softmax
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.forms.cache_adapter import CacheAdapter
from evenly.adapters.forms.cache_counts import Weights
from evenly.adapters.forms.key_cache import CHUNK_ENTRIES
from evenly.adapters.training import row_keys

KlOver = Literal["classes", "dimensions"]
RANGE_ROWS = 1024
"""Support rows compared with all of them for the range that no validation rows give: seconds at 16,000 rows."""


@dataclass(kw_only=True, eq=False)
class DivergenceCache(CacheAdapter):
    """A cache adapter with a term for the classes' mean divergence: logits += `gamma` * R Y.

    s = softmax(x T^T / `tau`) for images and support rows, M_ij = KL(s_i || s_j), R = -M rescaled linearly to the range
    of the affinities. As R is linear in M and M in log s_j, R Y needs only each class's sum of log s_j
    (`log_profile_sums_` (c, c)): no matrix of images by support rows is made, and no block of rows is lost.
    `range_` (4,) holds the lowest and highest affinity and the lowest and highest divergence; rows are rescaled by it,
    never by their own. `calibrate` takes it from validation rows, as published; `fit` alone takes it from the support
    rows among themselves (up to RANGE_ROWS of them against all), which `fallback_` says.
    """

    gamma: float = 0.0
    tau: float = 0.5

    log_profile_sums_: Floats = field(init=False, repr=False)
    range_: Floats = field(init=False, repr=False)

    def calibrate(self, validation: Features) -> Self:
        """Take the range of affinities and divergences from unlabelled validation rows."""
        self._check_fitted_on(validation)
        if len(validation) and len(self.keys_):
            self.range_ = self._range(validation.image)
            self.fallback_ = ""
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("gamma", self.gamma, or_zero=True)
        check_positive("tau", self.tau)

    def _learn_cache(self, keys: Floats, labels: Integers) -> None:
        """Learn from unit rows `keys` (k, d) of the classes `labels`, in the order of `class_order`.

        What `_affinity_keys` needs besides is set before.
        """
        self.keys_, self.key_labels_ = keys, labels
        profiles = self._log_profiles(keys)
        self.log_profile_sums_ = np.zeros((len(self.prototypes_), profiles.shape[1]))
        np.add.at(self.log_profile_sums_, labels, profiles)
        digests = row_keys(keys)
        self.range_ = self._range(keys[sorted(range(len(keys)), key=digests.__getitem__)[:RANGE_ROWS]])
        self.fallback_ = "range of the support rows themselves: not calibrated on validation rows"

    def _log_profiles(self, rows: Floats) -> Floats:
        return log_softmax(rows.astype(np.float64) @ self.prototypes_.T.astype(np.float64) / self.tau)

    def _range(self, image: Floats) -> Floats:
        """Lowest and highest affinity and divergence (4,) between rows (m, d) and all keys; zeros where none are."""
        if not len(image) or not len(self.keys_):
            return np.zeros(4)
        keys, support = self._affinity_keys().T.astype(np.float64), self._log_profiles(self.keys_)
        ranges = []
        size = max(1, CHUNK_ENTRIES // len(self.keys_))
        for start in range(0, len(image), size):
            rows = image[start : start + size]
            affinity, divergence = rows.astype(np.float64) @ keys, divergences(self._log_profiles(rows), support)
            ranges.append([affinity.min(), -affinity.max(), divergence.min(), -divergence.max()])
        return np.asarray(np.min(ranges, axis=0) * np.array([1.0, -1.0, 1.0, -1.0]))

    def _further(self, features: Features) -> Floats:
        """R Y (m, c): minus the rescaled divergences, summed per class."""
        counts = np.bincount(self.key_labels_, minlength=len(self.prototypes_))
        log_profiles = self._log_profiles(features.image)
        sums = class_divergences(log_profiles, self.log_profile_sums_, counts)
        lowest, highest, nearest, farthest = self.range_
        scale = (highest - lowest) / (farthest - nearest) if farthest > nearest else 0.0
        return np.asarray(-(scale * (sums - nearest * counts) + lowest * counts))

    def _current_weights(self) -> Weights:
        return Weights(self.alpha, self.beta, self.gamma)


def divergences(log_rows: Floats, log_others: Floats) -> Floats:
    """KL(row || other) (m, n) in nats of distributions given by their logarithms (m, k) and (n, k)."""
    rows = np.exp(log_rows)
    return np.asarray((rows * log_rows).sum(axis=1)[:, None] - rows @ log_others.T)


def class_divergences(log_rows: Floats, log_sums: Floats, counts: Integers) -> Floats:
    """The sum (m, c) of KL(row || other) over the others of each class: `log_sums` (c, k) their summed logarithms."""
    rows = np.exp(log_rows)
    return np.asarray((rows * log_rows).sum(axis=1)[:, None] * counts - rows @ log_sums.T)
