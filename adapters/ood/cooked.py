"""COOkeD's out-of-distribution scores: MSP and entropy of the averaged probabilities of three classifiers.

The adapter `cooked` gives log p as its logits, with p the plain mean of the three. Both scores are those of p itself:
no temperature, and no scale of 100 on top.
"""

import numpy as np

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.features import Floats
from evenly.adapters.ood.scores import checked_logits, energy, entropy, msp

_TOLERANCE = 1e-3  # float32 log p of many classes add up to 1 within this


def cooked_msp(log_probabilities: Floats) -> Floats:
    """The largest averaged probability (n,), from log p (n, c). Higher is more in-distribution."""
    return msp(_checked(log_probabilities))


def cooked_entropy(log_probabilities: Floats) -> Floats:
    """Minus the entropy of the averaged probabilities in nats (n,). The public script of COOkeD prints this one."""
    return entropy(_checked(log_probabilities))


def _checked(log_probabilities: Floats) -> Floats:
    """Refuse logits that are no logarithms of probabilities."""
    array = checked_logits(log_probabilities, name="log_probabilities")
    totals = np.exp(energy(array))
    bad = np.flatnonzero(np.abs(totals - 1) > _TOLERANCE)
    if bad.size:
        raise InvalidFeaturesError(
            f"`log_probabilities` must be logarithms of rows that add up to 1; got a sum of {totals[bad[0]]:.6g} at "
            f"row {bad[0]} ({bad.size} such rows). Hand in the logits of the adapter `cooked`."
        )
    return array
