"""Gains of methods over their rivals on the proving ground, with intervals and verdicts.

A claim is one function, one entry of a table of claims, and a row of docs/effects.md, which the command makes.
"""

from evenly.adapters.effects.claim import Claim, JudgedClaim, NotMeasurableError
from evenly.adapters.effects.ground import Ground
from evenly.adapters.effects.pools import POOL_CLAIMS
from evenly.adapters.effects.prompt_claims import PROMPT_CLAIMS
from evenly.adapters.effects.prompt_domains import DOMAIN_CLAIMS
from evenly.adapters.effects.region_claims import REGION_CLAIMS
from evenly.adapters.effects.rejection import REJECTION_CLAIMS
from evenly.adapters.effects.searches import SEARCH_CLAIMS
from evenly.adapters.effects.texts import TEXT_CLAIMS
from evenly.adapters.effects.tuned_claims import TUNED_CLAIMS

CLAIMS: tuple[Claim, ...] = (
    *TEXT_CLAIMS,
    *POOL_CLAIMS,
    *PROMPT_CLAIMS,
    *DOMAIN_CLAIMS,
    *TUNED_CLAIMS,
    *REJECTION_CLAIMS,
    *SEARCH_CLAIMS,
    *REGION_CLAIMS,
)

__all__ = ["CLAIMS", "Claim", "Ground", "JudgedClaim", "NotMeasurableError"]
