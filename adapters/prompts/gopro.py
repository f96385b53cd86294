"""GOPro: a prompt that pictures shift, trained so that views of a picture shift it alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evenly.adapters.contract import check_positive
from evenly.adapters.features import Features, Integers
from evenly.adapters.prompts.learner import PromptProblem
from evenly.adapters.prompts.pictures import PicturePrompts
from evenly.adapters.prompts.tower import Vectors
from evenly.adapters.prompts.training import Parameters

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True, eq=False)
class GOPro(PicturePrompts):
    """CoOp with a token of the picture added to every context vector (Singha et al., BMVC 2023, arXiv:2308.11605).

    Loss: cross-entropy, and for each of the first `n_views` views `consistency` times the mean squared difference
    between class rows by the picture's context and those by the view's. Published: a token of mean and deviation in 12
    layers of the image tower, two augmented views, batches of 4. Here pictures are rows: the token is a linear layer of
    the row, which starts at 0 and so at CoOp's start, and views are stored crops. The published contrast between
    projected pictures and views is left out: while image rows are frozen it trains its projector alone, which nothing
    reads.

    A saved fit has no tower, and so no context of a judged picture's own: a picture is judged by the class rows of the
    context with the mean token of the training pictures. What the published method adds at that point, the shift by
    the judged picture, is lost. Cross-entropy is therefore by the mean token of its batch, which with `batch_size` 1 is
    the picture's own, as published. Rows by single pictures and views cost most: `compared` pictures of a batch have
    them, of the label and the `rivals` classes nearest by zero-shot, from c - 1 on of all, as published. No views:
    cross-entropy alone, said in `fallback_`.
    """

    uses: ClassVar[tuple[str, ...]] = ("views",)

    consistency: float = 1.0
    compared: int = 8
    n_views: int = 2

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("consistency", self.consistency, or_zero=True)
        for name in ("compared", "n_views"):
            check_positive(name, getattr(self, name), integer=True)

    def _learn(self, features: Features, labels: Integers) -> None:
        super()._learn(features, labels)
        if features.views is None and not self.fallback_:
            self.fallback_ = "no views of pictures: their consistency is not learned"

    def _loss(self, problem: PromptProblem, parameters: Parameters, batch: "Tensor") -> "Tensor":
        import torch
        from torch.nn.functional import cross_entropy, mse_loss

        context, layer = parameters["context"], parameters["layer"]
        image, views = problem.image[batch], problem.features.views
        rows = self._unit_rows(problem, context + image.mean(dim=0) @ layer)
        loss = cross_entropy(self.logit_scale * image @ rows.T, problem.labels[batch])
        if views is None:
            return loss
        sample = batch[: self.compared]
        classes = self._compared_classes(problem, sample)

        def shifted(pictures: "Tensor") -> "Tensor":
            contexts = (context[classes] if self.per_class else context) + (pictures @ layer)[:, None, None]
            return self._rows_of_pictures(problem, contexts, classes)

        plain = shifted(image[: self.compared])
        gap = sum(mse_loss(plain, shifted(view)) for view in torch.tensor(views[: self.n_views, sample.numpy()]))
        return loss + self.consistency * gap

    def _keep(self, problem: PromptProblem, stages: list[dict[str, Vectors]]) -> None:
        """Keep the context with the mean token of the pictures in the place of the context."""
        mean = problem.image.numpy().sum(axis=0) / max(len(problem.image), 1)
        shifted = [stage["context"] + np.asarray(mean @ stage["layer"], np.float32) for stage in stages]
        super()._keep(problem, [{"context": context} for context in shifted])
