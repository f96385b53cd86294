"""GOPro: a prompt that each picture shifts, trained so that views of a picture shift it alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evenly.adapters.contract import check_positive
from evenly.adapters.features import Features, Integers
from evenly.adapters.prompts.learner import PromptLearner, PromptProblem, class_rows_of_pictures, nearest_classes
from evenly.adapters.prompts.tower import Vectors
from evenly.adapters.prompts.training import Parameters

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True, eq=False)
class GOPro(PromptLearner):
    """CoOp with a token of the picture added to every context vector (Singha et al., BMVC 2023, arXiv:2308.11605).

    Loss: cross-entropy on the class rows that a picture's own context gives, and for each of its first `n_views` views
    the mean squared difference between these rows and the rows of the view's context. Published: a token of mean and
    deviation in 12 layers of the image tower, two augmented views, batches of 4 over 50 epochs. Here pictures are rows:
    the token is a linear layer of the row, which starts at 0 and so at CoOp's start, and views are stored crops. Of
    each picture only the label and the `rivals` classes nearest by zero-shot have rows; from c - 1 on it is all, as
    published. The published contrast between projected pictures and views is left out: while image rows are frozen it
    trains its projector alone, which nothing reads.

    A picture is judged by the class rows of the context with the mean token of the training pictures: without the tower
    there is no context of its own, so that the published shift by the judged picture is lost, and what remains is a
    context trained under the shifts of many pictures. No views: cross-entropy alone, said in `fallback_`.
    """

    uses: ClassVar[tuple[str, ...]] = ("views",)

    steps: int = 60
    batch_size: int = 8
    rivals: int = 4
    n_views: int = 2

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("rivals", "n_views"):
            check_positive(name, getattr(self, name), integer=True)

    def _learn(self, features: Features, labels: Integers) -> None:
        super()._learn(features, labels)
        if features.views is None and not self.fallback_:
            self.fallback_ = "no views of pictures: their consistency is not learned"

    def _start(self, problem: PromptProblem) -> dict[str, "Tensor"]:
        start = super()._start(problem)
        size = (problem.image.shape[1], start["context"].shape[-1])
        return {**start, "layer": start["context"].new_zeros(size)}

    def _loss(self, problem: PromptProblem, parameters: Parameters, batch: Integers) -> "Tensor":
        import torch
        from torch.nn.functional import cross_entropy, mse_loss

        image = problem.image[torch.from_numpy(batch)]
        classes = nearest_classes(problem, batch, rivals=self.rivals)

        def rows_of(pictures: "Tensor") -> "Tensor":
            context = parameters["context"][classes] if self.per_class else parameters["context"]
            shifted = context + (pictures @ parameters["layer"])[:, None, None]
            return class_rows_of_pictures(problem, shifted, classes, place=self.place)

        rows = rows_of(image)
        logits = self.logit_scale * torch.einsum("nd,nkd->nk", image, rows)
        loss = cross_entropy(logits, torch.zeros(len(batch), dtype=torch.int64))
        for view in problem.features.views[: self.n_views] if problem.features.views is not None else ():
            loss = loss + mse_loss(rows, rows_of(torch.tensor(view[batch])))
        return loss

    def _keep(self, problem: PromptProblem, stages: list[dict[str, Vectors]]) -> None:
        """Keep the context with the mean token of the pictures in the place of the context."""
        mean = problem.image.numpy().sum(axis=0) / max(len(problem.image), 1)
        shifted = [stage["context"] + np.asarray(mean @ stage["layer"], np.float32) for stage in stages]
        super()._keep(problem, [{"context": context} for context in shifted])
