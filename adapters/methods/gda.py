"""GDA: Gaussian discriminant analysis in closed form, added to zero-shot."""

from dataclasses import dataclass

from evenly.adapters.features import Features, Integers
from evenly.adapters.forms.affine_residual import AffineResidual
from evenly.adapters.forms.class_statistics import (
    ClassStatistics,
    PrecisionScale,
    Prior,
    all_views,
    check_choice,
    closed_form,
)


@dataclass(kw_only=True, eq=False)
class GDA(AffineResidual):
    """logits = zero-shot + `alpha` * (W x + b) (Wang et al., ICLR 2024, arXiv:2402.04087), few-shot and long-tail fit.

    W = mu P, b = log pi - mu P mu / 2, class means mu, P the Kubokawa-Srivastava precision of the pooled scatter.
    Differs from the paper: the published P = d * inv(Q + tr(Q)/(n-1) I) shrinks as 1/n, so that the best alpha grows
    with the number of rows. `precision_scale` "rows" multiplies it by n/d, which makes it an inverse covariance and
    keeps the meaning of alpha, with ten views as with one; "published" leaves it.
    `prior` "uniform" is pi = 1/c, right where the classes are judged evenly, whatever the counts of the fit; "train" is
    each class's share of the rows (at least one row), only for tests as long-tailed as the fit. Beside the published
    scale the log of that share is multiplied by d/n as P is, or it would drown the evidence.
    All views are rows, where views are given; else the images.
    A class without support gets the mean W and b of the others: no evidence for or against it.
    Fallbacks, said in `fallback_`: no support, zero-shot; no more rows than classes, or no scatter within them,
    P = d I (the precision of rows spread evenly on the sphere). Solved in float64.
    """

    precision_scale: PrecisionScale = "rows"
    prior: Prior = "uniform"

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("precision_scale", self.precision_scale, PrecisionScale)
        check_choice("prior", self.prior, Prior)

    def _learn(self, features: Features, labels: Integers) -> None:
        rows, repeated = all_views(features, labels)
        self._solve(ClassStatistics.of(rows, repeated, n_classes=len(self.prototypes_)))

    def _solve(self, statistics: ClassStatistics) -> None:
        """Set the weight, the bias and the fallback."""
        self.weight_, self.bias_, self.fallback_ = closed_form(
            statistics, precision_scale=self.precision_scale, prior=self.prior
        )
