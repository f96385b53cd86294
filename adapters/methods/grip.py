"""GRIP: pseudo-labels that grow from round to round until the whole pool is used."""

from dataclasses import dataclass

from evenly.adapters.contract import check_positive
from evenly.adapters.forms.pseudolabels import PseudoLabelled, growing_sizes


@dataclass(kw_only=True, eq=False)
class GrowingPseudoLabels(PseudoLabelled):
    """`rounds` students, round r from floor((r + 1) (U / rounds) / C) pseudo-labels per class (arXiv:2306.01669).

    U is the size of the pool; the last round uses floor(U / C) per class and so nearly all of it. No confidence
    threshold. A pool of fewer images than classes gives no pseudo-labels. See `PseudoLabelled` for the student, the
    weights of labelled rows, and what differs from the paper.
    """

    rounds: int = 10

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("rounds", self.rounds, integer=True)

    def _sizes(self, n_pool: int, n_classes: int) -> tuple[int, ...]:
        return growing_sizes(n_pool, n_classes, rounds=self.rounds)
