"""A prompt as the student of pseudo-labels, as in FPL, IFPL and GRIP."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evenly.adapters.prompts.learner import PromptLearner, PromptProblem
from evenly.adapters.prompts.training import Parameters

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True, eq=False)
class PromptStudent(PromptLearner):
    """CoOp on `n_labelled` labelled rows, which come first, and on pseudo-labelled ones (arXiv:2306.01669).

    loss = gamma CE(labelled) + CE(pseudo), each the mean over such rows of the batch, 0 without any; gamma is
    |pseudo| / |labelled|, 1 without pseudo-labels. The public code has this gamma in FPL, and its inverse in the rounds
    of IFPL and GRIP. Published: 16 drawn vectors, 150 epochs in batches of 16, rate and decay .1.
    """

    n_labelled: int = 0

    def _loss(self, problem: PromptProblem, parameters: Parameters, batch: "Tensor") -> "Tensor":
        import torch
        from torch.nn.functional import cross_entropy

        logits = self.logit_scale * problem.image[batch] @ self._class_rows(problem, parameters).T
        losses = cross_entropy(logits, problem.labels[batch], reduction="none")
        n_pseudo = len(problem.labels) - self.n_labelled
        gamma = n_pseudo / self.n_labelled if n_pseudo and self.n_labelled else 1.0
        is_labelled = batch < self.n_labelled
        parts = [(gamma, losses[is_labelled]), (1.0, losses[~is_labelled])]
        return torch.stack([weight * part.mean() for weight, part in parts if len(part)]).sum()
