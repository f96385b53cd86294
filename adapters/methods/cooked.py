"""COOkeD: the mean of the probabilities of zero-shot, a probe on unnormalised features, and a third classifier."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from evenly.adapters.contract import Adapter, Grid, LogitKind, affine, check_positive
from evenly.adapters.errors import MissingFeaturesError
from evenly.adapters.evaluation.measures.classification import log_softmax, softmax
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.amu import required_second_rows
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.linear import logistic_regression
from evenly.adapters.methods.zero_shot import cosine_logits

ON_SECOND = "probe on the second backbone"
ON_IMAGES = "GDA on the image features"
NO_THIRD = "none"
ZERO_SHOT, PROBE = "zero-shot", "probe on the image features"


@dataclass(kw_only=True, eq=False)
class Cooked(Adapter):
    """logits = log of (p1 + p2 + p3) / 3 (Humblot-Renaux et al. 2025, arXiv:2507.22576), the classifier's side of it.

    p1 is the softmax of zero-shot, p2 that of a linear probe on image features of their own length (`image` times
    `norms`), p3 that of a third classifier: in the paper a network trained from scratch on the same classes. Here,
    where only features are known, it is a probe on the `second` backbone where `fit` gets one, else GDA's evidence
    without zero-shot; `third_` says which. All three have the class order of the prototypes.

    Differs from the paper besides: the probes are L2 logistic regressions by lbfgs instead of 20 epochs at rate 0.1.
    Their `C` is for rows of unit root-mean-square length, so that it means the same for both. A class without images
    has p2 = 0, and p3 = 0 from a probe. Fewer than two classes in the support: zero-shot, its plain logits.
    """

    grid: ClassVar[Grid] = Grid(parameters={"C": (1.0, 10.0, 100.0, 1000.0)})
    needs: ClassVar[tuple[str, ...]] = ("prototypes", "norms")
    uses: ClassVar[tuple[str, ...]] = ("second",)
    row_needs: ClassVar[tuple[str, ...]] = ("norms",)

    C: float = 10.0
    max_iterations: int = 1000

    probe_weight_: Floats = field(init=False, repr=False)
    probe_bias_: Floats = field(init=False, repr=False)
    third_weight_: Floats = field(init=False, repr=False)
    third_bias_: Floats = field(init=False, repr=False)
    third_: str = field(init=False, repr=False)
    converged_: str = field(init=False, repr=False)

    def probabilities(self, features: Features) -> Floats:
        """The averaged probabilities (n, c), float64; each row adds up to 1."""
        return softmax(self.decision_function(features))

    def fields_of_rows(self) -> tuple[str, ...]:
        """Lengths, and the second backbone where the third classifier judges by it."""
        return (*self.row_needs, "second") if self.third_ == ON_SECOND else self.row_needs

    def logit_kind(self) -> LogitKind:
        """Logarithms of averaged probabilities, but for zero-shot where the support allowed no ensemble."""
        return "log-probabilities" if self._is_three() else super().logit_kind()

    def parts(self, features: Features) -> dict[str, Floats]:
        """Log-probabilities (n, c) of the three classifiers, float64; {} where the support allowed no ensemble."""
        self._check_fitted_on(features)
        return (
            dict(zip((ZERO_SHOT, PROBE, self.third_), self._three(features), strict=True)) if self._is_three() else {}
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("C", self.C)
        check_positive("max_iterations", self.max_iterations, integer=True)

    def _learn(self, features: Features, labels: Integers) -> None:
        c, d = self.prototypes_.shape
        self.probe_weight_, self.probe_bias_ = np.zeros((c, d)), np.zeros(c)
        self.third_weight_, self.third_bias_ = np.zeros((c, d)), np.zeros(c)
        self.third_, self.converged_ = NO_THIRD, "yes"
        present = int(np.count_nonzero(self.support_))
        if present < 2:
            self.fallback_ = f"zero-shot: the probes need 2 classes with images; got {present}"
            return
        self.probe_weight_, self.probe_bias_, converged = self._probe(_own_length(features), labels)
        if features.second is None:
            gda = GDA(logit_scale=self.logit_scale).fit(features, labels)
            self.third_weight_, self.third_bias_ = gda.weight_, gda.bias_
            self.third_, self.fallback_ = ON_IMAGES, f"GDA with {gda.fallback_}" if gda.fallback_ else ""
            also = converged
        else:
            self.third_weight_, self.third_bias_, also = self._probe(features.second, labels)
            self.third_ = ON_SECOND
        self.converged_ = "yes" if converged == also == "yes" else "no"

    def _probe(self, rows: Floats, labels: Integers) -> tuple[Floats, Floats, str]:
        """Weight and bias for `rows` (n, d) as they are, and "yes" or "no"; the penalty is for unit mean length."""
        length = float(np.sqrt(np.einsum("nd,nd->", rows, rows, dtype=np.float64) / len(rows)))
        weight, bias, converged = logistic_regression(
            rows / length, labels, n_classes=len(self.prototypes_), C=self.C, max_iterations=self.max_iterations
        )
        return weight / length, bias, converged

    def _logits(self, features: Features) -> Floats:
        if not self._is_three():
            return cosine_logits(features.image, self.prototypes_, self.logit_scale)
        zero_shot, probe, third = self._three(features)
        return np.asarray(np.logaddexp(np.logaddexp(zero_shot, probe), third) - np.log(3))

    def _is_three(self) -> bool:
        return self.third_ != NO_THIRD

    def _three(self, features: Features) -> tuple[Floats, Floats, Floats]:
        rows = features.image
        if self.third_ == ON_SECOND:
            rows = required_second_rows(features, adapter="Cooked", dimension=self.third_weight_.shape[1])
        return (
            log_softmax(cosine_logits(features.image, self.prototypes_, self.logit_scale)),
            log_softmax(affine(_own_length(features), self.probe_weight_, self.probe_bias_)),
            log_softmax(affine(rows, self.third_weight_, self.third_bias_)),
        )


def _own_length(features: Features) -> Floats:
    """The image features before they were normalised (n, d), float64."""
    if features.norms is None:  # unreachable: `needs` and `row_needs` name them
        raise MissingFeaturesError("`norms` must be given.")
    return features.image.astype(np.float64) * features.norms.astype(np.float64)[:, None]
