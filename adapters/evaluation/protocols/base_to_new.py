"""The base-to-new protocol: fit and tune on the first half of the classes, judge that half and the other one apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.bootstrap import Interval, bootstrap_accuracy
from evenly.adapters.features import Features, GroupedFeatures, Integers, LabelledFeatures, checked_labels
from evenly.adapters.search import Tuned, tune

Rows = TypeVar("Rows", bound=LabelledFeatures)


@dataclass(frozen=True, kw_only=True, eq=False)
class BaseToNew:
    """Accuracy of base classes among base and of new classes among new, in 0 to 1, NaN without test rows.

    The intervals are 95 %, over resamples of the groups of test rows. `harmonic_mean` is that of the two. `tuned` is
    the adapter as found on the base classes alone.
    """

    base: float
    new: float
    base_interval: Interval
    new_interval: Interval
    harmonic_mean: float
    base_rows: int
    new_rows: int
    tuned: Tuned


def evaluate_base_to_new(
    adapter: type[Adapter],
    *,
    train: LabelledFeatures,
    validation: LabelledFeatures,
    test: GroupedFeatures,
    fixed: Mapping[str, Any] = MappingProxyType({}),
    guard: bool = True,
) -> BaseToNew:
    """Tune `adapter` on the base classes, then fit it with its choice on base rows and the prototypes of all classes.

    Labels are positions in the prototypes of `train`. Rows of new classes in train and validation are not looked at;
    what else describes a class (texts, contexts) goes with it. The groups of `test` are resampled; `fixed`, which is
    not searched, and `guard` are those of `tune`.
    """
    base, new = split_classes(len(train.features.required_prototypes(adapter=adapter.__name__)))
    support, tuning = (_rows_of(part, base, reference=train.features) for part in (train, validation))
    tuned = tune(
        adapter,
        train=replace(support, features=of_classes(support.features, base)),
        validation=replace(tuning, features=of_classes(tuning.features, base)),
        fixed=fixed,
        guard=guard,
    )
    on_all = type(tuned.adapter)().set_params(**tuned.adapter.get_params())
    on_all = on_all.fit(support.features, support.labels).calibrate(tuning.features)
    base_test, new_test = (_rows_of(test, classes, reference=train.features) for classes in (base, new))
    right_base = tuned.adapter.predict(of_classes(base_test.features, base)) == base_test.labels
    right_new = on_all.decision_function(new_test.features)[:, new].argmax(axis=1) == new_test.labels - len(base)
    among_base, among_new = (
        bootstrap_accuracy(right, groups=rows.groups, seed=0)
        for right, rows in ((right_base, base_test), (right_new, new_test))
    )
    return BaseToNew(
        base=among_base.estimate,
        new=among_new.estimate,
        base_interval=among_base,
        new_interval=among_new,
        harmonic_mean=harmonic_mean(among_base.estimate, among_new.estimate),
        base_rows=len(base_test.labels),
        new_rows=len(new_test.labels),
        tuned=tuned,
    )


def split_classes(n_classes: int) -> tuple[Integers, Integers]:
    """Base and new class indices: of the classes in order of their label the first ceil(c/2) are base."""
    if n_classes < 2:
        raise ParameterError(f"`n_classes` must be at least 2 for base and new; got {n_classes}. Add classes.")
    cut = -(-n_classes // 2)
    return np.arange(cut), np.arange(cut, n_classes)


def harmonic_mean(base: float, new: float) -> float:
    """2 base new / (base + new); 0 where both are 0."""
    return 2 * base * new / (base + new) if base or new else 0.0


def mean_of_harmonic_means(base: Sequence[float], new: Sequence[float]) -> float:
    """The mean over data sets of the harmonic mean of each: how GDA reports (78.72)."""
    _check_paired(base, new)
    return float(np.mean([harmonic_mean(*pair) for pair in zip(base, new, strict=True)]))


def harmonic_mean_of_averages(base: Sequence[float], new: Sequence[float]) -> float:
    """The harmonic mean of the averages over data sets: how CoOp and MaPLe report (78.97 for GDA)."""
    _check_paired(base, new)
    return harmonic_mean(float(np.mean(base)), float(np.mean(new)))


def of_classes(features: Features, classes: Integers) -> Features:
    """The record with some of its classes only, in the order of `classes`, in every field that knows classes."""
    prototypes = features.required_prototypes(adapter="of_classes")
    places = np.full(len(prototypes), -1)
    places[classes] = np.arange(len(classes))
    changed: dict[str, Any] = {"prototypes": prototypes[classes]}
    if features.tower is not None:
        changed["tower"] = features.tower.of_classes(classes)
    if features.negation_prototypes is not None:
        changed["negation_prototypes"] = features.negation_prototypes[classes]
    if features.context_prototypes is not None:
        changed["context_prototypes"] = features.context_prototypes[:, classes]
    if features.class_texts is not None and features.class_text_labels is not None:
        labels = places[features.class_text_labels]
        changed |= {"class_texts": features.class_texts[labels >= 0], "class_text_labels": labels[labels >= 0]}
    if features.descriptor_texts is not None and features.descriptor_text_labels is not None:
        labels = places[features.descriptor_text_labels]
        changed |= {
            "descriptor_texts": features.descriptor_texts[labels >= 0],
            "descriptor_text_labels": labels[labels >= 0],
        }
    if features.pair_texts is not None and features.pair_text_classes is not None:
        pairs = places[features.pair_text_classes]
        kept = (pairs >= 0).all(axis=1)
        changed |= {"pair_texts": features.pair_texts[kept], "pair_text_classes": pairs[kept]}
    return replace(features, **changed)


def _rows_of(part: Rows, classes: Integers, *, reference: Features) -> Rows:
    """The rows of these classes and their labels, under the class list of `reference`."""
    n_classes = len(reference.required_prototypes(adapter="evaluate_base_to_new"))
    labels = checked_labels(part.labels, n=len(part.features), n_classes=n_classes)
    listed = replace(part, features=replace(part.features, prototypes=reference.prototypes), labels=labels)
    return listed.rows(np.flatnonzero(np.isin(labels, classes)))


def _check_paired(base: Sequence[float], new: Sequence[float]) -> None:
    if not len(base) or len(base) != len(new):
        raise ParameterError(
            f"`base` and `new` must hold one accuracy per data set; got {len(base)} and {len(new)}. "
            "Hand in both of the same data sets."
        )
