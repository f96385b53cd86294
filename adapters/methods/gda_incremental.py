"""GDA that learns class after class: sessions of new classes add to its statistics, and no image is kept."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Features, Floats, Integers, checked_labels
from evenly.adapters.forms.class_statistics import ClassStatistics, all_views
from evenly.adapters.methods.gda import GDA


@dataclass(kw_only=True, eq=False)
class GDAIncremental(GDA):
    """`GDA` (arXiv:2402.04087) with `partial_fit` for class-incremental learning, after CPE-CLIP's setting.

    In place of CPE-CLIP's prompts, which need the images again, statistics of the features: rows per class `counts_`
    (c,), `means_` (c, d) and the pooled `scatter_` (d, d) of all sessions so far. They do not depend on the sessions'
    order, so nothing is forgotten: after any split into sessions the fit equals that on all rows at once, to rounding.
    A class of a later session gets the mean evidence of the others until its images come.
    """

    counts_: Integers = field(init=False, repr=False)
    means_: Floats = field(init=False, repr=False)
    scatter_: Floats = field(init=False, repr=False)

    def partial_fit(self, features: Features, labels: Integers) -> Self:
        """Add a session of n images with class indices `labels` (n,); on an unfitted adapter the same as `fit`.

        `features.prototypes` (c, d) begin with those of the earlier sessions and may hold new classes after them.
        """
        if not hasattr(self, "prototypes_"):
            return self.fit(features, labels)
        self._check_parameters()
        prototypes = features.required_prototypes(adapter=type(self).__name__)
        self._check_session(features, prototypes)
        checked = checked_labels(labels, n=len(features), n_classes=len(prototypes))
        counts = np.bincount(checked, minlength=len(prototypes))
        statistics = ClassStatistics(counts=self.counts_, means=self.means_, scatter=self.scatter_)
        rows, repeated = all_views(features, checked)
        self._keep(statistics.joined(ClassStatistics.of(rows, repeated, n_classes=len(prototypes))))
        self.prototypes_ = prototypes.copy()
        self.support_ = counts + np.pad(self.support_, (0, len(counts) - len(self.support_)))
        self.encoder_ = self.encoder_ or features.encoder
        return self

    def _learn(self, features: Features, labels: Integers) -> None:
        rows, repeated = all_views(features, labels)
        self._keep(ClassStatistics.of(rows, repeated, n_classes=len(self.prototypes_)))

    def _keep(self, statistics: ClassStatistics) -> None:
        self.counts_, self.means_, self.scatter_ = statistics.counts, statistics.means, statistics.scatter
        self._solve(statistics)

    def _check_session(self, features: Features, prototypes: Floats) -> None:
        """Refuse rows of another encoder, and class lists that do not begin with the known classes."""
        self._check_fitted_on(replace(features, prototypes=None))
        n_known = len(self.prototypes_)
        if not np.array_equal(prototypes[:n_known], self.prototypes_):
            raise InvalidFeaturesError(
                f"`prototypes` must begin with the {n_known} of the earlier sessions; got {len(prototypes)} others. "
                "Hand in all classes, the new ones last."
            )
