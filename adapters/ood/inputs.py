"""Inputs of out-of-distribution scores, and a score with the names of those it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self, get_args

from evenly.adapters.contract import LogitKind
from evenly.adapters.errors import InvalidFeaturesError, MissingFeaturesError
from evenly.adapters.features import Features, Floats

FIELDS = ("logits", "cooked_logits", "image", "prototypes", "negation_prototypes", "rejection_prototypes")
_PER_ROW = ("logits", "cooked_logits", "image")
Classifier = Literal["adapter", "zero-shot", "cooked"]
"""What gives the answers that a score doubts: the adapter in question, zero-shot by the same texts, or COOkeD."""
BASELINES: dict[Classifier, str] = {"adapter": "msp", "zero-shot": "zero_shot_msp", "cooked": "cooked_msp"}
"""The score that those of the same classifier are compared to: its largest probability."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OODInputs:
    """Arrays of n rows, each where it is known.

    `logits` (n, c) of the classifier in question, of the kind `logit_kind`; `cooked_logits` (n, c) of the adapter
    `cooked`, log p; `image` (n, d) unit rows; `prototypes` (c, d), `negation_prototypes` (c, d) and
    `rejection_prototypes` (r, d) as in Features.
    `trained_no` says that the words of the negations were learned.
    """

    logits: Floats | None = None
    logit_kind: LogitKind = "logits with a scale"
    cooked_logits: Floats | None = None
    image: Floats | None = None
    prototypes: Floats | None = None
    negation_prototypes: Floats | None = None
    rejection_prototypes: Floats | None = None
    trained_no: bool = False

    def __post_init__(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in _PER_ROW if getattr(self, name) is not None}
        if len(set(sizes.values())) > 1:
            raise InvalidFeaturesError(
                f"`{'`, `'.join(sizes)}` must have the same number of rows; got {list(sizes.values())}. "
                "Hand in arrays of the same images."
            )

    @classmethod
    def of(
        cls,
        features: Features,
        *,
        logits: Floats | None = None,
        logit_kind: LogitKind = "logits with a scale",
        cooked_logits: Floats | None = None,
        trained_no: bool = False,
    ) -> Self:
        """The record of some Features, with the logits that adapters gave for the same rows."""
        return cls(
            logits=logits,
            logit_kind=logit_kind,
            cooked_logits=cooked_logits,
            image=features.image,
            prototypes=features.prototypes,
            negation_prototypes=features.negation_prototypes,
            rejection_prototypes=features.rejection_prototypes,
            trained_no=trained_no,
        )

    def missing(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of `names` that are not there."""
        return tuple(name for name in names if getattr(self, name) is None)


@dataclass(frozen=True, kw_only=True)
class OODScore:
    """A score: `function` of the fields in `needs`, in this order; (n,) float64, higher is more in-distribution.

    `valid_for` are the kinds of `logits` of which it says something: one that reads their size, as the energy does, is
    not valid for log-probabilities, whose log of the sum of exp is 0 but for rounding. `note` is what a report must say
    beside it, by whether the negations are trained; "" where nothing.
    """

    needs: tuple[str, ...]
    function: Callable[..., Floats]
    valid_for: tuple[LogitKind, ...] = get_args(LogitKind)
    note: Callable[[bool], str] = lambda _: ""

    @property
    def classifier(self) -> Classifier:
        """The classifier that it is a score of: only scores of one classifier, on the same rows, are compared."""
        owners: dict[str, Classifier] = {"logits": "adapter", "cooked_logits": "cooked"}
        return next((owners[name] for name in self.needs if name in owners), "zero-shot")

    def lacking(self, *records: OODInputs) -> str:
        """The needs that some of `records` do not meet: fields, else the kind of logits; "" where none."""
        missing = [name for name in self.needs if any(record.missing((name,)) for record in records)]
        if missing:
            return ", ".join(missing)
        kinds = sorted({record.logit_kind for record in records} - {*self.valid_for}) if "logits" in self.needs else ()
        return f"{' or '.join(self.valid_for)}; the adapter gives {kinds[0]}" if kinds else ""

    def __call__(self, inputs: OODInputs) -> Floats:
        """The score of each row; MissingFeaturesError naming what `inputs` lack."""
        if lacking := self.lacking(inputs):
            raise MissingFeaturesError(
                f"`inputs` of this score must hold {', '.join(f'`{name}`' for name in self.needs)}, valid for it; "
                f"it lacks {lacking}. Hand them in, or choose another score."
            )
        return self.function(*(getattr(inputs, name) for name in self.needs))
