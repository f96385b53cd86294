"""CLIPN: the words that deny a class, learned, by which pictures of no class are told."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.zero_shot import cosine_logits
from evenly.adapters.prompts.learner import PromptLearner, PromptProblem
from evenly.adapters.prompts.training import Parameters

if TYPE_CHECKING:
    from torch import Tensor

_EPSILON = 1e-4
"""Added to squared distances in the public code, so that the gradient of a distance of 0 is finite."""


@dataclass(kw_only=True, eq=False)
class CLIPN(PromptLearner):
    """Logits of zero-shot, and learned texts that deny each class, for the scores CTW and ATD (`ood.clipn`).

    The row of "context, class name" denies the class (Wang et al., ICCV 2023, arXiv:2308.12213). Loss: half the sum of
    `yes_no_losses` and `opposition_loss`. Published: a copy of the whole text tower and 16 prompts added to its input
    learn from three million captioned pictures, by all other captions of a batch. Here the tower is frozen, a context
    learns, and train pictures are paired with the classes. Rate and stopping time are those of the least
    `yes_no_losses` on validation rows, which are of known classes: no picture of another class chooses.
    """

    uses_texts: ClassVar[bool] = True
    chosen_by: ClassVar[str] = "yes_no_loss"

    initial: str = "a photo without"
    learning_rate: float = 0.005

    def class_rows(self) -> Floats:
        """The class texts (c, d), which stay: the logits are those of zero-shot."""
        return self.prototypes_

    def no_rows(self) -> Floats:
        """The unit rows (c, d) of the texts that deny each class, where the training is stopped."""
        return super().class_rows()

    def losses(self, features: Features, labels: Integers, points: Sequence[Mapping[str, Any]]) -> Floats:
        """The sum over rows of both losses of yes and no, at each of `points` (p,)."""
        import torch

        def logits(rows: Floats) -> "Tensor":
            return torch.from_numpy(cosine_logits(features.image, rows, self.logit_scale))

        yes = logits(self.prototypes_)
        sums = [
            sum(yes_no_losses(yes, logits(copy(self).set_params(**point).no_rows()), torch.from_numpy(labels)))
            for point in points
        ]
        return len(labels) * np.array(sums, np.float64)

    def _loss(self, problem: PromptProblem, parameters: Parameters, batch: "Tensor") -> "Tensor":
        import torch

        yes_rows = torch.tensor(problem.features.prototypes)
        no_rows = self._class_rows(problem, parameters)
        scaled = self.logit_scale * problem.image[batch]
        matching, denied = yes_no_losses(scaled @ yes_rows.T, scaled @ no_rows.T, problem.labels[batch])
        return (matching + denied + opposition_loss(yes_rows, no_rows)) / 2


def yes_no_losses(yes_logits: "Tensor", no_logits: "Tensor", labels: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Mean -log of the probability of yes for the class of each row, and of no for its other classes.

    Both (n, c) are of the texts that say a class and deny it; a softmax of the two makes the two probabilities.
    """
    from torch.nn.functional import one_hot, softplus

    own = one_hot(labels, yes_logits.shape[1]).bool()
    denied = softplus(yes_logits - no_logits)[~own]
    return softplus(no_logits - yes_logits)[own].mean(), denied.sum() / max(len(denied), 1)


def opposition_loss(yes_rows: "Tensor", no_rows: "Tensor") -> "Tensor":
    """The mean over classes of 2 - the distance of the unit rows (c, d) that say it and deny it, in 0 to 2."""
    return (2 - (2 - 2 * (yes_rows * no_rows).sum(dim=-1) + _EPSILON).sqrt()).mean()
