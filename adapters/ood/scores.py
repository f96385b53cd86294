"""Out-of-distribution scores of plain logits. Each is (n,) float64, and higher means more in-distribution.

The scale of the logits counts for all but the maximum: here zero-shot logits are 100 times the cosine, and the
temperature is 1. Entropy is negated, so that one orientation holds for every score.
"""

from collections.abc import Callable

import numpy as np

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Floats
from evenly.adapters.methods.zero_shot import cosine_logits

_CHUNK = 4_000_000  # values held in float64 at a time: 32 MB


def msp(logits: Floats) -> Floats:
    """The largest probability, in 1/c to 1 (Hendrycks and Gimpel 2017, arXiv:1610.02136)."""
    return _by_chunks(lambda shifted, _: 1 / np.exp(shifted).sum(axis=1), logits)


def max_logit(logits: Floats) -> Floats:
    """The largest logit, in the unit of the logits (Hendrycks et al. 2022, arXiv:1911.11132)."""
    return _by_chunks(lambda _, top: top, logits)


def energy(logits: Floats) -> Floats:
    """Log of the sum of exp of the logits as they are: the negative free energy at temperature 1 (arXiv:2010.03759)."""
    return _by_chunks(lambda shifted, top: top + np.log(np.exp(shifted).sum(axis=1)), logits)


def entropy(logits: Floats) -> Floats:
    """Minus the entropy of the probabilities in nats, from -log c (all equal) to 0 (certain)."""
    return _by_chunks(_negative_entropy, logits)


def zero_shot_msp(image: Floats, prototypes: Floats, *, logit_scale: float = 100.0) -> Floats:
    """MSP (n,) of zero-shot: of `logit_scale` times the cosines of unit image rows (n, d) and class texts (c, d)."""
    return msp(cosine_logits(image, prototypes, logit_scale))


def zero_shot_entropy(image: Floats, prototypes: Floats, *, logit_scale: float = 100.0) -> Floats:
    """Minus the entropy (n,) of zero-shot, of the same logits."""
    return entropy(cosine_logits(image, prototypes, logit_scale))


LOGIT_SCORES: dict[str, Callable[[Floats], Floats]] = {
    "msp": msp,
    "max_logit": max_logit,
    "energy": energy,
    "entropy": entropy,
}


def checked_logits(logits: Floats, *, name: str = "logits") -> Floats:
    """The logits (n, c), or InvalidFeaturesError where a row has NaN, +infinity, or nothing above -infinity."""
    array = np.asarray(logits)
    if array.ndim != 2 or not array.shape[1]:
        raise InvalidFeaturesError(
            f"`{name}` must have shape (n, c) with c at least 1; got {array.shape}. Hand in one column per class."
        )
    top = array.max(axis=1)  # NaN wherever one is in the row
    bad = np.flatnonzero(~np.isfinite(top))
    if bad.size:
        raise InvalidFeaturesError(
            f"`{name}` must have a finite maximum in each row; got {top[bad[0]]} at row {bad[0]} ({bad.size} such "
            "rows). Look for NaN in the features of these rows."
        )
    return array


def _negative_entropy(shifted: Floats, _: Floats) -> Floats:
    odds = np.exp(shifted)
    total = odds.sum(axis=1)
    # sum of p log p with p = odds / total; a class of probability 0, whose shifted logit may be -infinity, adds 0
    weighted = np.where(odds > 0, odds * np.where(odds > 0, shifted, 0.0), 0.0).sum(axis=1)
    return np.asarray(weighted / total - np.log(total))


def _by_chunks(score: Callable[[Floats, Floats], Floats], logits: Floats) -> Floats:
    """`score` of (logits minus their row's maximum, that maximum), some rows at a time."""
    array = checked_logits(logits)
    result = np.empty(len(array))
    rows = max(1, _CHUNK // array.shape[1])
    for start in range(0, len(array), rows):
        chunk = array[start : start + rows].astype(np.float64)
        top = chunk.max(axis=1)
        result[start : start + rows] = score(chunk - top[:, None], top)
    return result
