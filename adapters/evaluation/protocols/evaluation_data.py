"""The data of an evaluation: labelled rows in parts, and the texts of their classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError, SplitError
from evenly.adapters.features import Features, Floats, GroupedFeatures, Integers, Strings, checked_labels
from evenly.adapters.splits import check_whole_groups


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationData:
    """Rows that adapters are fitted, tuned and judged on. Rows that do not fit together are refused.

    `features` of n images; `labels` (n,) positions in `classes`; `split` (n,) of "train", "val", "test"; `groups` (n,)
    names of rows that belong together: none may lie in two parts, and intervals resample them. `prototypes`: per set
    of texts ("names", "descriptions", "synonyms") unit rows (c, d); the first is the baseline of all differences, and
    of the guard of adapters that use no texts. `keys` (n,), which a leaderboard needs, name the rows for draws by hash.
    """

    features: Features
    labels: Integers
    split: Strings
    groups: npt.NDArray[Any]
    classes: Sequence[str]
    prototypes: Mapping[str, Floats]
    keys: Sequence[str] | Strings = ()

    def __post_init__(self) -> None:
        for name in ("labels", "split", "groups"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        n, n_classes = len(self.features), len(self.classes)
        checked_labels(self.labels, n=n, n_classes=n_classes)
        for name, values in (("split", self.split), ("groups", self.groups)):
            if np.shape(values) != (n,):
                raise SplitError(
                    f"`{name}` must hold one value per image, shape ({n},); got shape "
                    f"{np.shape(values)}. Hand in columns of the same rows."
                )
        check_whole_groups(self.split, self.groups)
        if not self.prototypes:
            raise MissingFeaturesError("`prototypes` must hold a set of texts; got none. Hand in those of the names.")
        for texts, array in self.prototypes.items():
            if len(array) != n_classes:
                raise InvalidFeaturesError(
                    f"`prototypes` of `{texts}` must hold one row per class, {n_classes}; got {len(array)}. "
                    "Make them again from this class list."
                )

    @property
    def baseline(self) -> str:
        """The set of texts that differences are taken to."""
        return next(iter(self.prototypes))

    def rows(self, part: str) -> Integers:
        """Positions of the rows of one part of the split, in order."""
        return np.flatnonzero(self.split == part)

    def part(self, name: str, prototypes: Floats | None = None) -> GroupedFeatures:
        """One part of the split, with these prototypes."""
        rows = self.rows(name)
        features = replace(self.features.rows(rows), prototypes=prototypes)
        return GroupedFeatures(features=features, labels=self.labels[rows], groups=self.groups[rows])
