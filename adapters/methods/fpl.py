"""FPL: few pseudo-labels, made once."""

from dataclasses import dataclass

from evenly.adapters.contract import check_positive
from evenly.adapters.forms.pseudolabels import PseudoLabelled


@dataclass(kw_only=True, eq=False)
class FewPseudoLabels(PseudoLabelled):
    """A student of the `k` pseudo-labels per class of zero-shot (FPL, Menghini et al., arXiv:2306.01669).

    See `PseudoLabelled` for the student, the weights of labelled rows, and what differs from the paper.
    """

    k: int = 16

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("k", self.k, integer=True)

    def _sizes(self, n_pool: int, n_classes: int) -> tuple[int, ...]:  # noqa: ARG002 - the same for every pool
        return (self.k,)
