"""Adapters as scikit-learn estimators: rows and labels of any kind in, labels out.

Each is the adapter of its name with the same hyper-parameters, whose meaning and paper `help(GDA)` gives. They work in
`Pipeline`, `cross_val_score`, `GridSearchCV` and `clone`.
"""

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import fields
from inspect import Parameter, Signature
from typing import Any, ClassVar, ParamSpec, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from evenly.adapters.contract import Adapter
from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.features import Features, Floats, Integers, unit_rows
from evenly.adapters.methods import (
    amu,
    caps,
    cooked,
    disclip,
    fpl,
    fudd,
    gda,
    gda_base_to_new,
    gda_em,
    gda_incremental,
    grip,
    ifpl,
    linear,
    nola,
    perceptionclip,
    real_linear,
    singular_scaling,
    tip,
    tip_f,
    tipx,
    vcd,
    zero_shot,
)
from evenly.adapters.prompts import clipn, coop, cpe, gopro, osloprompt

Parameters = ParamSpec("Parameters")
Labels = npt.NDArray[Any]
Rows = npt.ArrayLike | Features
Prototypes = Mapping[Any, npt.ArrayLike] | npt.ArrayLike | pd.DataFrame

WITHOUT_TEXTS = (linear.LinearProbe, gda.GDA, gda_incremental.GDAIncremental, tip.Tip, tip_f.TipF)
"""What classifies without texts of the classes too: there all classes share one, so that zero-shot prefers none."""
_NAMED = 10


class AdapterClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """The common part of all estimators.

    Rows X are (n, d): an array, a data frame, or a `Features` record where a method needs more than pictures. Rows of
    an array are scaled to unit length. Fitted: `classes_`, the labels in the order of the columns of `predict_proba`;
    `adapter_`, the fitted adapter; `fallback_`, what was done instead where the rows do not allow the method, else "".
    """

    method: ClassVar[type[Adapter]]

    def fit(
        self,
        X: Rows,
        y: npt.ArrayLike,
        *,
        classes: Sequence[Hashable] | None = None,
        prototypes: Prototypes | None = None,
    ) -> Self:
        """Learn from rows X (n, d) with labels y (n,) of any kind.

        prototypes: a text row (d,) of each class by its label, as `evenly.encode` makes them: a dict, or a data frame
        with the labels as index; or an array (c, d) in the order of `classes`. Zero-shot and what builds on it need
        them; GDA, LinearProbe, Tip and few others do not.
        classes: all labels in the order wanted, those without rows included; default: those of the prototypes, else
        those in y, sorted.

        Raises InvalidFeaturesError for NaN, rows of zeros, labels of no class or prototypes that do not fit.
        """
        record = self._record(X, reset=True)
        labels = _checked_labels(y, len(record))
        order, texts = _classes_and_texts(classes, prototypes, record)
        if texts is None:
            self._check_needs_no_texts()
        self.classes_ = np.unique(labels) if order is None else order
        if len(self.classes_) < 2 and texts is None:
            raise InvalidFeaturesError(f"`y` must hold at least 2 classes; got {len(self.classes_)} class. Add rows.")
        texts = _same_for_all(len(self.classes_), record.dimension) if texts is None else texts
        positions = _positions(labels, self.classes_)
        self.adapter_ = self.method(**self.get_params()).fit(record.with_prototypes(texts), positions)
        self.fallback_ = self.adapter_.fallback_
        if self.fallback_:
            warnings.warn(f"{type(self).__name__}: {self.fallback_}", stacklevel=2)
        return self

    def decision_function(self, X: Rows) -> Floats:
        """Logits (n, c); of two classes the second's less the first's (n,), as scikit-learn has it."""
        logits = self._logits(X)
        return np.asarray(logits[:, 1] - logits[:, 0]) if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Rows) -> Floats:
        """Softmax (n, c) of the logits, not calibrated; columns in the order of `classes_`."""
        return np.asarray(softmax(self._logits(X), axis=1))

    def predict(self, X: Rows) -> Labels:
        """The label (n,) with the largest logit; the first of equal ones."""
        best = self._logits(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(item.name for item in fields(cls.method) if item.init)

    def _logits(self, X: Rows) -> Floats:
        check_is_fitted(self)
        return np.asarray(self.adapter_.decision_function(self._record(X, reset=False)), dtype=np.float64)

    def _record(self, X: Rows, *, reset: bool) -> Features:
        """X as a record of features: rows of an array in unit length, beside their lengths."""
        if isinstance(X, Features):
            if reset:
                self.n_features_in_ = X.dimension
            return X
        rows = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=False)
        broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if broken.size:
            raise InvalidFeaturesError(
                f"`X` must be finite; got NaN or infinity (inf) at row {broken[0]} ({broken.size} such rows). "
                "Leave these rows out."
            )
        return Features(image=unit_rows(rows, name="X"), norms=np.linalg.norm(rows, axis=1).astype(np.float32))

    def _check_needs_no_texts(self) -> None:
        if self.method not in WITHOUT_TEXTS:
            raise MissingFeaturesError(
                f"`{type(self).__name__}` must have a text row per class; got none. Hand in "
                "`prototypes=dict(zip(names, evenly.encode([f'a photo of a {name}' for name in names])))`."
            )


def estimator(method: Callable[Parameters, Adapter]) -> Callable[Parameters, AdapterClassifier]:
    """The estimator of an adapter: a class with its name, its docstring and its hyper-parameters."""
    kind = cast("type[Adapter]", method)
    parameters = [item for item in fields(kind) if item.init]
    defaults = {item.name: item.default for item in parameters}
    signature = Signature(
        [
            Parameter("self", Parameter.POSITIONAL_ONLY),
            *(
                Parameter(parameter.name, Parameter.KEYWORD_ONLY, default=parameter.default, annotation=parameter.type)
                for parameter in parameters
            ),
        ]
    )

    def __init__(self: AdapterClassifier, **parameters: Any) -> None:  # noqa: N807, ANN401 - of any type
        kind().set_params(**parameters)  # refuses an unknown name
        self.__dict__.update(defaults | parameters)

    __init__.__signature__ = signature  # type: ignore[attr-defined] # scikit-learn and notebooks read it
    body = {"__init__": __init__, "__module__": __name__, "__doc__": kind.__doc__, "method": kind}
    return cast("Callable[Parameters, AdapterClassifier]", type(kind.__name__, (AdapterClassifier,), body))


AMU = estimator(amu.AMU)
CLIPN = estimator(clipn.CLIPN)
CPE = estimator(cpe.CPE)
CapS = estimator(caps.CapS)
CoOp = estimator(coop.CoOp)
Cooked = estimator(cooked.Cooked)
DescribedClasses = estimator(vcd.DescribedClasses)
DifferentialTexts = estimator(fudd.DifferentialTexts)
FewPseudoLabels = estimator(fpl.FewPseudoLabels)
GDA = estimator(gda.GDA)
GDABaseToNew = estimator(gda_base_to_new.GDABaseToNew)
GDAIncremental = estimator(gda_incremental.GDAIncremental)
GDAUnsupervised = estimator(gda_em.GDAUnsupervised)
GOPro = estimator(gopro.GOPro)
GrowingPseudoLabels = estimator(grip.GrowingPseudoLabels)
IterativeFewPseudoLabels = estimator(ifpl.IterativeFewPseudoLabels)
LinearProbe = estimator(linear.LinearProbe)
NoLA = estimator(nola.NoLA)
OSLoPrompt = estimator(osloprompt.OSLoPrompt)
PerceptionCLIP = estimator(perceptionclip.PerceptionCLIP)
RealLinear = estimator(real_linear.RealLinear)
SelectedDescriptions = estimator(disclip.SelectedDescriptions)
SingularScaling = estimator(singular_scaling.SingularScaling)
TIPX = estimator(tipx.TIPX)
Tip = estimator(tip.Tip)
TipF = estimator(tip_f.TipF)
ZeroShot = estimator(zero_shot.ZeroShot)


def _checked_labels(y: npt.ArrayLike, n: int) -> Labels:
    """The labels (n,) as they are, each there."""
    if y is None:
        raise InvalidFeaturesError("`fit` requires y to be passed, but the target y is None. Hand in labels.")
    labels = np.asarray(column_or_1d(np.asarray(y), warn=True))
    if len(labels) != n:
        raise InvalidFeaturesError(f"`y` must hold one label per row, {n}; got {len(labels)}. Hand in both alike.")
    missing = [place for place, label in enumerate(labels.tolist()) if label is None or label != label]  # noqa: PLR0124
    if missing:
        raise InvalidFeaturesError(
            f"`y` must hold a label for each row; got None or NaN at row {missing[0]} ({len(missing)} such rows). "
            "Leave unlabelled rows out."
        )
    kinds = sorted({type(label).__name__ for label in labels.tolist()})
    if len(kinds) > 1:
        raise InvalidFeaturesError(f"`y` must hold labels of one type; got {' and '.join(kinds)}. Convert them.")
    check_classification_targets(labels)
    return labels


def _classes_and_texts(
    classes: Sequence[Hashable] | None, prototypes: Prototypes | None, record: Features
) -> tuple[Labels | None, Floats | None]:
    """The labels (c,) in order and their text rows (c, d); None for what is not given."""
    if prototypes is None:
        prototypes = record.prototypes
    elif isinstance(prototypes, pd.DataFrame):
        prototypes = dict(zip(prototypes.index, prototypes.to_numpy(), strict=True))
    order = None if classes is None else _label_array(classes)
    if prototypes is None:
        return order, None
    if isinstance(prototypes, Mapping):
        order = _label_array(list(prototypes)) if order is None else order
        unnamed = [label for label in order.tolist() if label not in prototypes]
        if unnamed:
            raise InvalidFeaturesError(f"`prototypes` must have a row for each class; got none for {unnamed[0]!r}.")
        texts = np.array([np.asarray(prototypes[label], dtype=np.float64) for label in order.tolist()])
    else:
        texts = np.asarray(prototypes, dtype=np.float64)
    if order is None:
        raise InvalidFeaturesError(
            "`classes` must name the class of each row of `prototypes`; got none. Hand in the labels in their order, "
            "or `prototypes` as a dict of label -> row."
        )
    if texts.shape != (len(order), record.dimension):
        raise InvalidFeaturesError(
            f"`prototypes` must be {len(order)} rows of {record.dimension} numbers, one per class, as X has; got shape "
            f"{texts.shape}. Encode the classes with the encoder of X."
        )
    return order, unit_rows(texts, name="prototypes")


def _label_array(classes: Sequence[Hashable]) -> Labels:
    labels = np.asarray(classes)
    if labels.ndim != 1 or len({*labels.tolist()}) < len(labels):
        raise InvalidFeaturesError(f"`classes` must be labels, each once; got {list(classes)!r:.200}. Correct them.")
    return labels


def _positions(labels: Labels, classes: Labels) -> Integers:
    """The position (n,) of each label among the classes."""
    places = {label: place for place, label in enumerate(classes.tolist())}
    unknown = [row for row, label in enumerate(labels.tolist()) if label not in places]
    if unknown:
        named = ", ".join(map(repr, classes.tolist()[:_NAMED])) + (", …" if len(classes) > _NAMED else "")
        raise InvalidFeaturesError(
            f"`y` must hold labels of the classes {named}; got {labels.tolist()[unknown[0]]!r} at row {unknown[0]} "
            f"({len(unknown)} such rows). Leave these rows out, or add the class."
        )
    return np.array([places[label] for label in labels.tolist()], dtype=np.int64)


def _same_for_all(n_classes: int, dimension: int) -> Floats:
    """One text row for all classes: the cosine with it says nothing of any."""
    texts = np.zeros((n_classes, dimension), dtype=np.float32)
    texts[:, 0] = 1
    return texts
