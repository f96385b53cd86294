"""Learning in sessions: adapters whose classes come one group after the other."""

from abc import abstractmethod
from dataclasses import replace
from typing import Self

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Features, Floats, Integers, checked_labels


class SessionLearner(Adapter):
    """An adapter with `partial_fit` for class-incremental learning: the class list grows at its end."""

    def partial_fit(self, features: Features, labels: Integers) -> Self:
        """Add a session of n images with class indices `labels` (n,); on an adapter without images the same as `fit`.

        `features.prototypes` (c, d) begin with those of the earlier sessions and may hold new classes after them.
        """
        if not hasattr(self, "prototypes_"):
            return self.fit(features, labels)
        self._check_parameters()
        features.require(*self.needs, adapter=type(self).__name__)
        prototypes = features.required_prototypes(adapter=type(self).__name__)
        self._check_session(features, prototypes)
        if not self.support_.any():
            return self.fit(features, labels)
        checked = checked_labels(labels, n=len(features), n_classes=len(prototypes))
        earlier = np.pad(self.support_, (0, len(prototypes) - len(self.support_)))
        self._learn_session(features, checked, earlier)
        self.prototypes_ = prototypes.copy()
        self.support_ = earlier + np.bincount(checked, minlength=len(prototypes))
        self.encoder_ = self.encoder_ or features.encoder
        return self

    @abstractmethod
    def _learn_session(self, features: Features, labels: Integers, earlier: Integers) -> None:
        """Learn from a further session; `earlier` (c,) counts the images of each class in those before it."""

    def _check_session(self, features: Features, prototypes: Floats) -> None:
        """Refuse rows of another encoder, and class lists that do not begin with the known classes."""
        self._check_fitted_on(replace(features, prototypes=None))
        n_known = len(self.prototypes_)
        if not np.array_equal(prototypes[:n_known], self.prototypes_):
            raise InvalidFeaturesError(
                f"`prototypes` must begin with the {n_known} of the earlier sessions; got {len(prototypes)} others. "
                "Hand in all classes, the new ones last."
            )
