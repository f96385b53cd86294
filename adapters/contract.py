"""The contract of adapters: keyword hyper-parameters, `fit`, learned names ending in `_`, `decision_function`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import InvalidFeaturesError, NotFittedError, ParameterError
from evenly.adapters.features import Features, Floats, Integers, checked_labels

CHUNK_ROWS = 8192
"""Rows of logits made at a time: bounds memory at 65 MB of float64 per 1000 classes."""


LogitKind = Literal["logits with a scale", "log-probabilities"]
"""What the logits of a row are: numbers whose size says something, or normalised ones, whose exp adds up to 1."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Values to search: the product of `parameters`, then `steps` steps of a binary search in the log10 of `bisect`.

    A product of more points than FULL_GRID is searched coarse to fine (see `evenly.adapters.search`).
    """

    parameters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    bisect: str | None = None
    steps: int = 8


@dataclass(kw_only=True, eq=False)
class Adapter(ABC):
    """A classifier on features, shaped like scikit-learn's: a keyword-only dataclass of hyper-parameters.

    Learned values are fields with `init=False` and a name that ends in `_`: arrays, or text. The number and order of
    the classes are those of `features.prototypes` given to `fit`. `logit_scale` multiplies the cosine of image and
    prototype wherever the method uses it (100 in Tip-Adapter, GDA and COOkeD). What a class says of itself: `grid`,
    its published search; `needs`, the fields of `Features` that `fit` cannot do without, `uses`, those that it takes
    where they are there, and `row_needs`, those of every row it judges; `learns_from`, what it adapts to: without any
    of it the logits are those of zero-shot, exactly; `uses_texts`, whether its logits depend on the prototypes;
    `decided_late`, the hyper-parameters that act after `fit`; `chosen_by`, where the logits are those of zero-shot
    whatever it learns, the name of the loss by which validation chooses in place of accuracy.
    """

    grid: ClassVar[Grid] = Grid()
    needs: ClassVar[tuple[str, ...]] = ("prototypes",)
    uses: ClassVar[tuple[str, ...]] = ()
    row_needs: ClassVar[tuple[str, ...]] = ()
    learns_from: ClassVar[tuple[str, ...]] = ("support",)
    uses_texts: ClassVar[bool] = True
    decided_late: ClassVar[tuple[str, ...]] = ()
    chosen_by: ClassVar[str] = ""

    logit_scale: float = 100.0

    prototypes_: Floats = field(init=False, repr=False)
    support_: Integers = field(init=False, repr=False)
    encoder_: str = field(init=False, repr=False)
    fallback_: str = field(init=False, repr=False)

    def fit(self, features: Features, labels: Integers) -> Self:
        """Learn from `features` of n images with class indices `labels` (n,) in 0 to c - 1; forget any earlier fit.

        Learned by all: `prototypes_` (c, d), `support_` (c,) images per class, `encoder_`, and `fallback_`, words that
        say what was done instead where the support does not allow the method, else "".
        """
        self._check_parameters()
        features.require(*self.needs, adapter=type(self).__name__)
        prototypes = features.required_prototypes(adapter=type(self).__name__)
        checked = checked_labels(labels, n=len(features), n_classes=len(prototypes))
        for name in self.learned_names():
            vars(self).pop(name, None)
        self.prototypes_ = prototypes.copy()
        self.support_ = np.bincount(checked, minlength=len(prototypes))
        self.encoder_ = features.encoder
        self.fallback_ = ""
        self._learn(features, checked)
        return self

    def calibrate(self, validation: Features) -> Self:  # noqa: ARG002 - most methods take nothing
        """Take from unlabelled validation rows what the method scales by (a range, a mean); here nothing.

        The search calls it after each fit; without it a method uses its own support rows and says so.
        """
        return self

    def fields_of_rows(self) -> tuple[str, ...]:
        """The fields that a row must have for this fit to judge it: `row_needs`, and what `fit` took of `uses`."""
        return self.row_needs

    def parts(self, features: Features) -> dict[str, Floats]:  # noqa: ARG002 - most methods are one classifier
        """Log-probabilities (n, c) by the classifiers whose mean the method is, by name; here none."""
        return {}

    def logit_kind(self) -> LogitKind:
        """The kind of the logits of this fit; scores that take them say for which kinds they are valid."""
        return "logits with a scale"

    def affine_form(self) -> tuple[Floats, Floats] | None:
        """W (c, d) and b (c,), float64, where the logits of a unit row x are W x + b; None where they are not."""
        return None

    def ruled_out(self) -> npt.NDArray[np.bool_]:
        """Classes (c,) that it can never name, as no row spoke for them: a temperature is fitted without them."""
        return np.zeros(len(self.prototypes_), dtype=np.bool_)

    def decision_function(self, features: Features, *, chunk_rows: int = CHUNK_ROWS) -> Floats:
        """Logits (n, c), float32, made `chunk_rows` rows at a time; each row's do not depend on the other rows."""
        self._check_fitted_on(features)
        check_positive("chunk_rows", chunk_rows, integer=True)
        logits = np.empty((len(features), len(self.prototypes_)), dtype=np.float32)
        for start in range(0, len(features), chunk_rows):
            rows = slice(start, start + chunk_rows)
            logits[rows] = self._logits(features.rows(rows))
        return logits

    def predict(self, features: Features) -> Integers:
        """Class index (n,) of the largest logit; the first of equal ones."""
        return np.asarray(self.decision_function(features).argmax(axis=1), dtype=np.int64)

    def sweep(self, features: Features, points: Sequence[Mapping[str, Any]]) -> Iterator[Floats]:
        """Logits (n, c) at each of `points`: values of the parameters in `decided_late`, which act after `fit`.

        An adapter that can share work between the points overrides this.
        """
        original = self.get_params()
        try:
            for point in points:
                yield self.set_params(**point).decision_function(features)
        finally:
            self.set_params(**original)

    def correct_counts(
        self, features: Features, labels: Integers, points: Sequence[Mapping[str, Any]], *, chunk_rows: int = CHUNK_ROWS
    ) -> Integers:
        """The number of rows that `predict` would get right at each of `points` (p,): what a search compares.

        Made from `sweep`, `chunk_rows` rows at a time; an adapter that can count faster overrides this.
        """
        counts = np.zeros(len(points), dtype=np.int64)
        for start in range(0, len(features), chunk_rows):
            rows = slice(start, start + chunk_rows)
            for place, logits in enumerate(self.sweep(features.rows(rows), points)):
                counts[place] += np.count_nonzero(logits.argmax(axis=1) == labels[rows])
        return counts

    def losses(self, features: Features, labels: Integers, points: Sequence[Mapping[str, Any]]) -> Floats:  # noqa: ARG002
        """The sum over rows of the loss named `chosen_by`, at each of `points` (p,); here none."""
        return np.zeros(len(points))

    @classmethod
    def open_grid(cls, fixed: Mapping[str, Any]) -> Grid:
        """The published grid without the parameters that are fixed."""
        parameters = {name: values for name, values in cls.grid.parameters.items() if name not in fixed}
        return replace(cls.grid, parameters=parameters, bisect=None if cls.grid.bisect in fixed else cls.grid.bisect)

    def get_params(self, *, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - scikit-learn's clone passes it
        """The hyper-parameters by name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.init}

    def set_params(self, **parameters: Any) -> Self:  # noqa: ANN401 - hyper-parameters of any type
        """Set hyper-parameters by name; an unknown name is an error that lists the known ones."""
        current = self.get_params()
        for name, value in parameters.items():
            if name not in current:
                raise ParameterError(
                    f"parameter of `{type(self).__name__}` must be one of {', '.join(sorted(current))}; got `{name}`. "
                    "Choose one of these."
                )
            setattr(self, name, value)
        return self

    @classmethod
    def learned_names(cls) -> tuple[str, ...]:
        """The names of what `fit` learns; each ends in `_`."""
        return tuple(item.name for item in fields(cls) if not item.init)

    @abstractmethod
    def _learn(self, features: Features, labels: Integers) -> None:
        """Set the learned names of this method; `features` and `labels` are checked."""

    @abstractmethod
    def _logits(self, features: Features) -> Floats:
        """Logits of one chunk of checked rows, float64."""

    def _check_parameters(self) -> None:
        check_positive("logit_scale", self.logit_scale)

    def _check_fitted_on(self, features: Features) -> None:
        """Refuse rows of another encoder, dimension or class list than the fitted ones."""
        name = type(self).__name__
        if not hasattr(self, "prototypes_"):
            raise NotFittedError(f"`{name}` must be fitted before it predicts; it is not. Call `fit` first.")
        features.require(*self.fields_of_rows(), adapter=name)
        if features.dimension != self.prototypes_.shape[1]:
            raise InvalidFeaturesError(
                f"`image` must have dimension {self.prototypes_.shape[1]}, as at `fit`; got {features.dimension}. "
                "Extract these images with the encoder of the fit."
            )
        if features.encoder and self.encoder_ and features.encoder != self.encoder_:
            raise InvalidFeaturesError(
                f"`encoder` must be `{self.encoder_}`, as at `fit`; got `{features.encoder}`. "
                "Extract these images with the encoder of the fit."
            )
        if features.prototypes is not None and not np.array_equal(features.prototypes, self.prototypes_):
            raise InvalidFeaturesError(
                f"`prototypes` must be those of the fit, shape {self.prototypes_.shape}; got other values or classes, "
                f"shape {features.prototypes.shape}. Fit again on the changed class list, or leave them out."
            )


def affine(image: Floats, weight: Floats, bias: Floats | float = 0.0) -> Floats:
    """`image` (m, d) times `weight` (c, d) transposed plus `bias` (c,): float64 (m, c).

    In float64 because discriminant weights of 1e4 and more cancel down to logits of a few units.
    """
    return np.asarray(image.astype(np.float64, copy=False) @ weight.T.astype(np.float64, copy=False) + bias)


def check_positive(name: str, value: float, *, or_zero: bool = False, integer: bool = False) -> None:
    """Raise ParameterError unless `value` is a finite number above 0, or 0 where `or_zero`; whole where `integer`."""
    kinds = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    number = isinstance(value, kinds) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value < 0 or (value == 0 and not or_zero):
        rule = f"a {'whole' if integer else 'finite'} number {'of at least' if or_zero else 'above'} 0"
        raise ParameterError(f"`{name}` must be {rule}; got {value!r}. Choose a value in this range.")
