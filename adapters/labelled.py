"""Labelled pictures of a build, their parts and groups, and with them the features and texts that adapters take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.adapters import adapter_class
from evenly.adapters.class_texts import ClassTexts
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.cooked import Cooked
from evenly.adapters.own_features.arrays import SHARED, image_arrays, text_arrays
from evenly.adapters.splits import PARTS

Strings = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledPairs:
    """Labelled pictures (n), in the order of their uids: which class and part each is of.

    `pairs` has uid, image_id, label, caption and url; `labels` (n,) are places in `classes`; `split` (n,) is "train",
    "val" or "test"; `groups` (n,) names what never parts. `notes` say what was left out.
    """

    pairs: pa.Table
    labels: Integers
    split: Strings
    groups: Strings
    classes: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRows(LabelledPairs):
    """Labelled pictures with their features and the texts of their classes.

    `prototypes` are class vectors (c, d) per set of texts, "names" first; `unseen` pictures of none of the classes, by
    set, and `unseen_groups` the groups of each. `unlabelled` are pictures without a label; the pool of `features` holds
    them and the train pictures, whose labels are hidden.
    """

    features: Features
    unlabelled: Features
    prototypes: Mapping[str, Floats]
    unseen: Mapping[str, Features]
    unseen_groups: Mapping[str, Strings]

    def without_train_pool(self) -> Features:
        """`features` with the pictures without a label alone as pool: who draws train pictures adds the others."""
        return replace(self.features, unlabelled=self.unlabelled.image, unlabelled_second=self.unlabelled.second)


def takes_second(rule: ClassTexts, adapters: Sequence[str]) -> bool:
    """Whether one of the adapters takes rows of a second backbone, or the scores on pictures of no class do.

    These scores include those of an ensemble of COOkeD's.
    """
    kinds = [Cooked] * any(vars(rule.unseen).values()) + [adapter_class(name) for name in adapters]
    return any("second" in {*kind.needs, *kind.row_needs, *kind.uses} for kind in kinds)


def takes_tower(adapters: Sequence[str]) -> bool:
    """Whether one of the adapters learns through the text tower, or may: a tower that nobody asks costs nothing."""
    return any("tower" in {*kind.needs, *kind.uses} for kind in map(adapter_class, adapters))


_SETS = {"far": "ood", "near": "near_ood"}
_OF_TEXTS = [name for name in SHARED if not name.startswith("unlabelled")]


def labelled_arrays(rows: LabelledRows) -> dict[str, np.ndarray]:
    """The file of labelled pictures and texts of their classes that `evenly fit --arrays` reads."""
    arrays = text_arrays({name: getattr(rows.features, name) for name in _OF_TEXTS})
    arrays |= {"prototypes": rows.prototypes["names"], "classes": np.array(rows.classes, dtype=np.str_)}
    uids, captions = (np.array(rows.pairs[name].to_pylist(), dtype=np.str_) for name in ("uid", "caption"))
    for part in PARTS:
        places = np.flatnonzero(rows.split == part)
        features = rows.features.rows(places)
        arrays |= image_arrays(features if part == "train" else replace(features, views=None), part)
        arrays |= {f"{part}_labels": rows.labels[places], f"{part}_groups": rows.groups[places]}
        arrays |= {f"{part}_ids": uids[places], f"{part}_captions": captions[places]}
    if len(rows.unlabelled):
        arrays |= image_arrays(replace(rows.unlabelled, norms=None), "unlabelled")
    for name, features in rows.unseen.items():
        arrays |= image_arrays(features, _SETS[name])
    return arrays
