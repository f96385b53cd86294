"""CPE-CLIP: the words around class names, learned on as new classes come."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Features, Integers
from evenly.adapters.forms.class_statistics import check_choice
from evenly.adapters.forms.sessions import SessionLearner
from evenly.adapters.prompts.learner import PromptLearner, problem_of
from evenly.adapters.prompts.training import STAGES

Regularisation = Literal["balance", "freeze", "none"]


@dataclass(kw_only=True, eq=False)
class CPE(SessionLearner, PromptLearner):
    """CoOp that takes sessions of new classes, and keeps no image (D'Alessandro et al., ICCVW 2023, arXiv:2303.04751).

    A later session goes on from the context at `stop`, with a new optimiser. While it trains, logits of classes of
    earlier sessions are masked: the loss is over the others alone, and a session of one class learns nothing.
    `regularisation` "balance" multiplies gradients by their share of all classes so far, so that later sessions move
    the context less; "freeze" trains the first session alone; "none" is neither. With `per_class`, contexts of earlier
    classes stay as they are, and so do their rows. Published: CLIP ViT-B/16, 2 vectors in each of 12 layers of the text
    tower, which a linear layer also turns into prompts of the vision tower. Here the text side alone, at its first
    layer: pictures are stored rows. One session is CoOp. `rows_` and `contexts_` are of the last session's stages.
    """

    weight_decay: float = 1e-5
    regularisation: Regularisation = "balance"

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("regularisation", self.regularisation, Regularisation)

    def _learn_session(self, features: Features, labels: Integers, earlier: Integers) -> None:
        import torch

        problem = problem_of(features, labels)
        tower, n_classes = problem.tower, len(earlier)
        if tower.identity != self.tower_:
            raise InvalidFeaturesError(
                f"`tower` must be that of the earlier sessions, {self.tower_[:12]}; got {tower.identity[:12]}. "
                "Hand in the tower of the same encoder."
            )
        context = self.context()
        if self.per_class:
            context = np.concatenate([context, self._start(problem)["context"].numpy()[len(context) :]])
        present = np.bincount(labels, minlength=n_classes) > 0
        current = np.flatnonzero(present | (earlier == 0))
        share = {"balance": len(current) / n_classes, "freeze": 0.0, "none": 1.0}[self.regularisation]
        trained = current if self.per_class else np.arange(len(context))
        start = {"context": torch.from_numpy(context[trained])}
        places = torch.from_numpy(np.searchsorted(current, labels))
        session = replace(problem, tower=tower.of_classes(current), labels=places)
        stages = self._stages(session, start, share=share)
        contexts = np.stack([context] * (STAGES + 1))
        contexts[:, trained] = np.stack([stage["context"] for stage in stages])
        self._keep(problem, [{"context": stage} for stage in contexts])
