"""CoOp: the words around a class name, learned."""

from dataclasses import dataclass

from evenly.adapters.prompts.learner import PromptLearner


@dataclass(kw_only=True, eq=False)
class CoOp(PromptLearner):
    """logits = `logit_scale` * cosine of x and the row of "context, class name" (Zhou et al., IJCV, arXiv:2109.01134).

    The context is trained by cross-entropy. Published: SGD at 2e-3, batch 32, 50 to 200 epochs on augmented pictures,
    16 drawn vectors, or 4 that start as "a photo of a"; the last epoch is taken. Here the pictures are their stored
    rows, and rate and stopping time are chosen on validation; `PromptLearner` has the rest.
    """
