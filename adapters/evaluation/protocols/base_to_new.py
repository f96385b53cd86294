"""The base-to-new protocol: fit and tune on the first half of the classes, judge that half and the other one apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.contract import Adapter, Grid
from evenly.adapters.errors import ParameterError
from evenly.adapters.evaluation.measures.bootstrap import Interval, bootstrap_accuracy
from evenly.adapters.features import Features, Integers, checked_labels
from evenly.adapters.search import Tuned, tune


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
    train: Features,
    train_labels: Integers,
    validation: Features,
    validation_labels: Integers,
    test: Features,
    test_labels: Integers,
    test_groups: npt.NDArray[Any] | None = None,
    grid: Grid | None = None,
    fixed: Mapping[str, Any] | None = None,
    guard: bool = True,
    seed: int = 0,
) -> BaseToNew:
    """Tune `adapter` on the base classes, then fit it with its choice on base rows and the prototypes of all classes.

    Labels are positions in the prototypes of `train`. Rows of new classes in train and validation are not looked at;
    what else describes a class (texts, contexts) goes with it. `test_groups` (rows,) are resampled (None: the rows);
    `grid`, `fixed` and `guard` are those of `tune`; `seed` is that of the intervals.
    """
    groups = np.arange(len(test)) if test_groups is None else np.asarray(test_groups)
    base, new = split_classes(len(train.required_prototypes(by=adapter.__name__)))
    fit_rows = _rows_of(train, train_labels, base, like=train)
    val_rows = _rows_of(validation, validation_labels, base, like=train)
    tuned = tune(
        adapter,
        train=of_classes(fit_rows[0], base),
        train_labels=fit_rows[1],
        validation=of_classes(val_rows[0], base),
        validation_labels=val_rows[1],
        grid=grid,
        fixed=fixed,
        guard=guard,
    )
    on_all = type(tuned.adapter)().set_params(**tuned.adapter.get_params()).fit(*fit_rows).calibrate(val_rows[0])
    base_test, new_test = (_rows_of(test, test_labels, classes, like=train) for classes in (base, new))
    right_base = tuned.adapter.predict(of_classes(base_test[0], base)) == base_test[1]
    right_new = on_all.decision_function(new_test[0])[:, new].argmax(axis=1) == new_test[1] - len(base)
    among_base, among_new = (
        bootstrap_accuracy(right, groups=groups[np.isin(test_labels, classes)], seed=seed)
        for right, classes in ((right_base, base), (right_new, new))
    )
    return BaseToNew(
        base=among_base.estimate,
        new=among_new.estimate,
        base_interval=among_base,
        new_interval=among_new,
        harmonic_mean=harmonic_mean(among_base.estimate, among_new.estimate),
        base_rows=len(base_test[1]),
        new_rows=len(new_test[1]),
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
    prototypes = features.required_prototypes(by="of_classes")
    places = np.full(len(prototypes), -1)
    places[classes] = np.arange(len(classes))
    changed: dict[str, Any] = {"prototypes": prototypes[classes]}
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


def _rows_of(features: Features, labels: Integers, classes: Integers, *, like: Features) -> tuple[Features, Integers]:
    """The rows of these classes and their labels, under the class list of `like`."""
    listed = replace(features, prototypes=like.prototypes)
    n_classes = len(like.required_prototypes(by="evaluate_base_to_new"))
    checked = checked_labels(labels, n=len(features), n_classes=n_classes)
    here = np.flatnonzero(np.isin(checked, classes))
    return listed.rows(here), checked[here]


def _check_paired(base: Sequence[float], new: Sequence[float]) -> None:
    if not len(base) or len(base) != len(new):
        raise ParameterError(
            f"`base` and `new` must hold one accuracy per data set; got {len(base)} and {len(new)}. "
            "Hand in both of the same data sets."
        )
