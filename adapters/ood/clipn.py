"""CLIPN's scores (Wang et al. 2023, arXiv:2308.12213) from texts that say a class and texts that deny it.

yes = s * x T_yes^T and no = s * x T_no^T with s = 100; p = softmax(yes) over the classes; q_c = sigmoid(yes_c - no_c),
the probability that the class text beats its denial. Higher is more in-distribution.

The paper trains an encoder for the denials; the adapter `clipn` learns the words around the class name. Hand-written
denials ("a photo of no {}") through plain CLIP are a weak baseline, and are labelled so: `clipn_label`.
"""

import numpy as np

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.evaluation.measures.classification import softmax
from evenly.adapters.features import Floats
from evenly.adapters.methods.zero_shot import cosine_logits
from evenly.adapters.ood.scores import checked_logits

PLAIN_CLIP = "plain-CLIP negations (not the trained CLIPN no-encoder)"
TRAINED = "learned no-prompts (not the trained CLIPN no-encoder)"

_CHUNK = 4_000_000


def clipn_label(*, trained_no: bool = False) -> str:
    """The label of CTW and ATD in a report: the plain-CLIP variant, unless the words of the denials were learned."""
    return TRAINED if trained_no else PLAIN_CLIP


def ctw(yes: Floats, no: Floats) -> Floats:
    """Competing to win: q of the class with the largest yes logit, the first of equal ones; (n,) in 0 to 1."""
    yes, no = _checked(yes, no)
    top = yes.argmax(axis=1)[:, None]
    return _sigmoid((np.take_along_axis(yes, top, axis=1) - np.take_along_axis(no, top, axis=1)).astype(np.float64))[
        :, 0
    ]


def atd(yes: Floats, no: Floats) -> Floats:
    """Agreeing to differ: the sum over classes of p q, (n,) in 0 to 1. What is left to 1 is a class of its own."""
    yes, no = _checked(yes, no)
    total = np.empty(len(yes))
    rows = max(1, _CHUNK // yes.shape[1])
    for start in range(0, len(yes), rows):
        part = slice(start, start + rows)
        agreed = softmax(yes[part]) * _sigmoid(yes[part].astype(np.float64) - no[part])
        total[part] = agreed.sum(axis=1).clip(0, 1)
    return total


def ctw_of_rows(
    image: Floats, prototypes: Floats, negation_prototypes: Floats, *, logit_scale: float = 100.0
) -> Floats:
    """CTW (n,) of unit image rows (n, d) by class texts (c, d) and their denials (c, d)."""
    return ctw(cosine_logits(image, prototypes, logit_scale), cosine_logits(image, negation_prototypes, logit_scale))


def atd_of_rows(
    image: Floats, prototypes: Floats, negation_prototypes: Floats, *, logit_scale: float = 100.0
) -> Floats:
    """ATD (n,) of unit image rows (n, d) by class texts (c, d) and their denials (c, d)."""
    return atd(cosine_logits(image, prototypes, logit_scale), cosine_logits(image, negation_prototypes, logit_scale))


def _checked(yes: Floats, no: Floats) -> tuple[Floats, Floats]:
    """Both (n, c) and finite."""
    yes, no = checked_logits(yes, name="yes"), checked_logits(no, name="no")
    for name, array in (("yes", yes), ("no", no)):
        if not np.isfinite(array).all():
            raise InvalidFeaturesError(f"`{name}` must be finite; got -infinity. Hand in cosines times a scale.")
    if yes.shape != no.shape:
        raise InvalidFeaturesError(
            f"`no` must have the shape of `yes`, {yes.shape}; got {no.shape}. Make one denial per class text."
        )
    return yes, no


def _sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow; small values keep their precision, so that they still rank."""
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, small) / (1 + small))
