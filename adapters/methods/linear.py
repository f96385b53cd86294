"""Linear probe: multinomial logistic regression on unit image features."""

import warnings
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from evenly.adapters.contract import Adapter, Grid, affine, check_positive
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.zero_shot import scaled

ABSENT_LOGIT = -1e4
"""Logit of a class without support: with any finite penalty the largest other logit is at least 0, so its
probability is exactly 0 in float64, the limit that the unpenalised bias of an absent class would run to."""


@dataclass(kw_only=True, eq=False)
class LinearProbe(Adapter):
    """scikit-learn's LogisticRegression (lbfgs, L2) with the search of CoOp's linear probe (arXiv:2109.01134).

    `C` is the inverse penalty; the grid is 1e6 to 1e-6 by hundreds, then 8 binary steps in log10 C around its peak.
    Differs from CoOp: rows are of unit length, and the best point of the whole search is taken, not the last one.
    Prototypes give the number of classes only. Fewer than two classes in the support: zero-shot, said in `fallback_`.
    `weight_` (c, d) and `bias_` (c,) are float64; `converged_` is "yes" or "no" (stopped at `max_iterations`).
    """

    grid: ClassVar[Grid] = Grid(parameters={"C": (1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6)}, bisect="C", steps=8)
    uses_texts: ClassVar[bool] = False

    C: float = 1.0
    max_iterations: int = 1000

    weight_: Floats = field(init=False, repr=False)
    bias_: Floats = field(init=False, repr=False)
    converged_: str = field(init=False, repr=False)

    def affine_form(self) -> tuple[Floats, Floats]:
        """The learned weight and bias."""
        return self.weight_, self.bias_

    def ruled_out(self) -> npt.NDArray[np.bool_]:
        """Classes (c,) without support."""
        return absent(self.bias_)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("C", self.C)
        check_positive("max_iterations", self.max_iterations, integer=True)

    def _learn(self, features: Features, labels: Integers) -> None:
        present = np.flatnonzero(self.support_)
        if len(present) < 2:
            self.fallback_ = f"zero-shot: a linear probe needs 2 classes with images; got {len(present)}"
            self.weight_ = scaled(self.prototypes_, self.logit_scale)
            self.bias_ = np.zeros(len(self.prototypes_))
            self.converged_ = "yes"
            return
        self.weight_, self.bias_, self.converged_ = logistic_regression(
            features.image, labels, n_classes=len(self.prototypes_), C=self.C, max_iterations=self.max_iterations
        )

    def _logits(self, features: Features) -> Floats:
        return affine(features.image, self.weight_, self.bias_)


def absent(bias: Floats) -> npt.NDArray[np.bool_]:
    """The classes (c,) that the `bias` (c,) of `logistic_regression` says were without rows."""
    return np.asarray(bias == ABSENT_LOGIT)


def logistic_regression(
    rows: Floats, labels: Integers, *, n_classes: int, C: float, max_iterations: int
) -> tuple[Floats, Floats, str]:
    """Weight (c, d) and bias (c,) of `rows` (n, d) of at least two classes, and whether it converged ("yes" or "no").

    The rows need not be of unit length. A class without rows gets ABSENT_LOGIT.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    model = LogisticRegression(C=C, solver="lbfgs", max_iter=max_iterations)
    # One thread: the products are small and thousands, and on busy cores waiting for a second thread cost 50-fold.
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # few images per class are meant
        warnings.simplefilter("ignore", ConvergenceWarning)  # said by what is returned instead
        model.fit(rows.astype(np.float64), labels)
    weights, intercepts = model.coef_, model.intercept_
    if len(weights) == 1:  # two classes: one logit z stands for the pair (-z/2, z/2)
        weights, intercepts = np.vstack([-weights, weights]) / 2, np.concatenate([-intercepts, intercepts]) / 2
    weight, bias = np.zeros((n_classes, rows.shape[1])), np.full(n_classes, ABSENT_LOGIT)
    weight[model.classes_], bias[model.classes_] = weights, intercepts
    return weight, bias, "yes" if int(model.n_iter_.max()) < max_iterations else "no"
