"""Rejection by near misses: texts of what looks like the classes and is none of them compete with the class texts.

Generated near-miss names as further text classes are the reusable part of OSLoPrompt (arXiv:2503.16106), here without
its trained prompts. Higher is more in-distribution.
"""

import numpy as np

from evenly.adapters.features import Floats
from evenly.adapters.methods.zero_shot import cosine_logits
from evenly.adapters.ood.scores import energy


def near_miss(image: Floats, prototypes: Floats, rejection_prototypes: Floats, *, logit_scale: float = 100.0) -> Floats:
    """Probability mass (n,) in 0 to 1 that softmax over class and rejection texts together leaves on the classes.

    1 minus the mass on the rejection texts (r, d); computed as the odds of the two masses, so that values near 0 still
    rank. Without rejection texts it is 1 for every row.
    """
    classes = energy(cosine_logits(image, prototypes, logit_scale))
    if not len(rejection_prototypes):
        return np.ones(len(image))
    rejected = energy(cosine_logits(image, rejection_prototypes, logit_scale))
    return _share(classes, rejected)


def near_miss_max(
    image: Floats, prototypes: Floats, rejection_prototypes: Floats, *, logit_scale: float = 100.0
) -> Floats:
    """Largest probability (n,) of any class in softmax over class and rejection texts together.

    Low where a near miss wins, and also where the classes share the mass; without rejection texts it is MSP.
    """
    logits = cosine_logits(image, prototypes, logit_scale)
    all_logits = logits
    if len(rejection_prototypes):
        all_logits = np.concatenate([logits, cosine_logits(image, rejection_prototypes, logit_scale)], axis=1)
    return np.asarray(np.exp(logits.max(axis=1) - energy(all_logits)))


def _share(first: Floats, second: Floats) -> Floats:
    """exp(first) / (exp(first) + exp(second))."""
    small = np.exp(-np.abs(first - second))
    return np.asarray(np.where(first >= second, 1.0, small) / (1 + small))
