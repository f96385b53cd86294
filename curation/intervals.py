"""Confidence intervals of shares."""

import math

from evenly.curation.errors import RuleError

Z95 = 1.959963984540054
"""The quantile of the normal distribution that leaves 2.5 % at either end."""


def wilson_interval(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (0 to 1) seen in `n` trials (above 0), within 0 and 1.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 1927. `n` need not be whole, as
    scipy's has to be: an effective number of trials is not.
    """
    if not (0 <= share <= 1 and n > 0):
        raise RuleError(f"`share` must be 0 to 1 and `n` above 0; got {share} and {n}. Judge a caption or more.")
    centre = share + Z95 * Z95 / (2 * n)
    spread = Z95 * math.sqrt(share * (1 - share) / n + Z95 * Z95 / (4 * n * n))
    low, high = ((centre + side * spread) / (1 + Z95 * Z95 / n) for side in (-1, 1))
    return (0.0 if share == 0 else max(low, 0.0)), (1.0 if share == 1 else min(high, 1.0))
