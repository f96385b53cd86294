"""IFPL: few pseudo-labels, made again by each student."""

from dataclasses import dataclass

from evenly.adapters.contract import check_positive
from evenly.adapters.forms.pseudolabels import PseudoLabelled


@dataclass(kw_only=True, eq=False)
class IterativeFewPseudoLabels(PseudoLabelled):
    """`rounds` students, each of the `k` pseudo-labels per class of the one before (IFPL, arXiv:2306.01669).

    Every round labels the whole pool anew and starts a new student. See `PseudoLabelled` for the student, the weights
    of labelled rows, and what differs from the paper.
    """

    k: int = 16
    rounds: int = 10

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("k", self.k, integer=True)
        check_positive("rounds", self.rounds, integer=True)

    def _sizes(self, n_pool: int, n_classes: int) -> tuple[int, ...]:  # noqa: ARG002 - the same for every pool
        return (self.k,) * self.rounds
