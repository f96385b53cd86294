"""Prompts of single pictures beside a learned one: what GOPro and OSLoPrompt share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenly.adapters.contract import check_positive
from evenly.adapters.prompts.learner import PromptLearner, PromptProblem

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True, eq=False)
class PicturePrompts(PromptLearner):
    """CoOp with `layer` (d, w), a linear layer from image rows to word embeddings that is 0 at the start.

    Rows by single pictures cost most: of a picture its label and the `rivals` classes nearest by zero-shot have them.
    """

    rivals: int = 1

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("rivals", self.rivals, integer=True)

    def _start(self, problem: PromptProblem) -> dict[str, "Tensor"]:
        start = super()._start(problem)
        return start | {"layer": start["context"].new_zeros(problem.image.shape[1], start["context"].shape[-1])}

    def _compared_classes(self, problem: PromptProblem, batch: "Tensor") -> "Tensor":
        """Of each picture of a batch (n, k) its label, then the classes whose prototypes are nearest, or all."""
        import torch

        cosines = problem.image[batch] @ torch.tensor(problem.features.prototypes).T
        cosines[torch.arange(len(batch)), problem.labels[batch]] = torch.inf
        return cosines.topk(min(self.rivals + 1, cosines.shape[1])).indices

    def _rows_of_pictures(self, problem: PromptProblem, contexts: "Tensor", classes: "Tensor") -> "Tensor":
        """Unit rows (n, k, d) of the `classes` (n, k) of each picture by contexts (n, k or 1, m, w) of its own."""
        names = [problem.tower.names[number] for number in classes.flatten().tolist()]
        context = contexts.expand(*classes.shape, *contexts.shape[-2:]).flatten(0, 1)
        return self._unit_rows(problem, context, names=names).reshape(*classes.shape, -1)
