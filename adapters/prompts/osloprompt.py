"""OSLoPrompt: a prompt held to prompts of single pictures, beside which names of near misses compete."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from evenly.adapters.contract import affine, check_positive
from evenly.adapters.features import Features, Floats, Integers
from evenly.adapters.methods.zero_shot import scaled
from evenly.adapters.prompts.learner import PromptProblem
from evenly.adapters.prompts.pictures import PicturePrompts
from evenly.adapters.prompts.training import Parameters

if TYPE_CHECKING:
    from torch import Tensor

STYLE_WORDS = "a photo of a"


@dataclass(kw_only=True, eq=False)
class OSLoPrompt(PicturePrompts):
    """CoOp with near misses beside the classes and a prompt of each picture as teacher (CVPR 2025, arXiv:2503.16106).

    Loss: cross-entropy over classes and near misses, `style_weight` times the cross-entropy by a prompt of the picture,
    and the mean of 1 minus the cosine between rows of a class by both prompts. The prompt of a picture is STYLE_WORDS,
    which stay, shifted by a linear layer of its row and of its attention to texts of the class: the class's
    prototype and its `class_texts`. Near misses are `rejection_names` beside the learned context or, where names are
    not known, `rejection_prototypes` as they are.

    Published: "unknown" is one class, taught by pictures generated of the near misses' names, which would need a
    generator; prompts in the image tower, domains by name, trained attention, AdamW, batches of 6. Here the near misses
    are texts alone and the context that they share with the classes is what they learn. Of each picture's prompt only
    the label and the `rivals` nearest classes have rows; from c - 1 on it is all, as published.

    Logits are those of the classes minus the log of the sum of exp of the near misses': the scores `energy` and
    `max_logit` of them reject what a near miss names, with a threshold that `judge_rejection` chooses on validation.
    The prompts of pictures are of training alone, as published. `rows_` (6, c + r, d) hold near misses last.
    """

    uses: ClassVar[tuple[str, ...]] = ("class_texts", "rejection_prototypes")

    batch_size: int = 16
    style_weight: float = 0.33

    def affine_form(self) -> tuple[Floats, Floats] | None:  # type: ignore[override] # near misses shift the logits
        """None where near misses shift the logits."""
        return None if len(self.near_rows()) else super().affine_form()

    def class_rows(self) -> Floats:
        """The rows (c, d) of the classes where the training is stopped."""
        return super().class_rows()[: len(self.prototypes_)]

    def near_rows(self) -> Floats:
        """The rows (r, d) of the near misses where the training is stopped."""
        return super().class_rows()[len(self.prototypes_) :]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_positive("style_weight", self.style_weight, or_zero=True)

    def _learn(self, features: Features, labels: Integers) -> None:
        super()._learn(features, labels)
        if not len(self.near_rows()) and not self.fallback_:
            self.fallback_ = "no names or rows of near misses: nothing competes with the classes"

    def _class_rows(self, problem: PromptProblem, parameters: Parameters) -> "Tensor":
        """Unit rows (c + r, d) of classes and near misses."""
        import torch

        context, names = parameters["context"], problem.features.rejection_names
        if self.per_class:
            context = torch.cat([context, context.mean(dim=0).expand(len(names), *context.shape[1:])])
        rows = self._unit_rows(problem, context, names=(*problem.tower.names, *names))
        fixed = problem.features.rejection_prototypes
        return rows if names or fixed is None else torch.cat([rows, torch.tensor(fixed)])

    def _loss(self, problem: PromptProblem, parameters: Parameters, batch: "Tensor") -> "Tensor":
        import torch
        from torch.nn.functional import cross_entropy

        image, rows = problem.image[batch], self._class_rows(problem, parameters)
        classes = self._compared_classes(problem, batch)
        shift = (image[:, None] + self._attended(problem, image)[torch.arange(len(batch))[:, None], classes]) / 2
        words = torch.from_numpy(problem.tower.vectors(STYLE_WORDS))
        contexts = words + (shift @ parameters["layer"])[:, :, None]
        taught = self._rows_of_pictures(problem, contexts, classes)
        logits = self.logit_scale * torch.einsum("nd,nkd->nk", image, taught)
        return (
            cross_entropy(self.logit_scale * image @ rows.T, problem.labels[batch])
            + self.style_weight * cross_entropy(logits, torch.zeros(len(batch), dtype=torch.int64))
            + (1 - (rows[classes] * taught).sum(dim=-1)).mean()
        )

    def _attended(self, problem: PromptProblem, image: "Tensor") -> "Tensor":
        """Of each picture and class the mean (n, c, d) of texts of the class, by the softmax of their logits."""
        import torch

        features, count = problem.features, len(self.prototypes_)
        texts, owners = torch.tensor(features.prototypes), torch.arange(count)
        if features.class_texts is not None:
            texts = torch.cat([texts, torch.tensor(features.class_texts)])
            owners = torch.cat([owners, torch.tensor(features.class_text_labels)])
        is_of = owners == torch.arange(count)[:, None]
        logits = (self.logit_scale * image @ texts.T)[:, None].masked_fill(~is_of, -torch.inf)
        return logits.softmax(dim=-1) @ texts

    def _logits(self, features: Features) -> Floats:
        logits, misses = super()._logits(features), self.near_rows()
        if not len(misses):
            return logits
        near = affine(features.image, scaled(misses, self.logit_scale))
        return np.asarray(logits - np.logaddexp.reduce(near, axis=1, keepdims=True))
