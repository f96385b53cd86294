"""Faults of the demo's web: of which kinds, how many of each, and what must be said of them.

One pair has at most one fault. Shares are of about 6,000 pairs (4,495 pictures and what is added to them).
"""

from collections.abc import Mapping
from dataclasses import dataclass

PAIRS_PER_PICTURE = 6000 / 4495
"""Size of the pool to which the shares refer, per picture."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault.

    share: of the pool's pairs. details: the kinds within it and their weights.
    stage: the step that can find it. reasons: what that step must say, per detail or ("") for all.
    claims: the reasons by which a step claims this fault, for precision; None for all of `reasons`.
    first_pair: True if the fault lies on a picture's first pair, False if the pair is added to the pool.
    """

    share: float
    stage: str
    reasons: Mapping[str, tuple[str, ...]]
    details: Mapping[str, float]
    first_pair: bool = False
    claims: tuple[str, ...] | None = None

    def expected(self, detail: str) -> tuple[str, ...]:
        """The reasons that are right for a pair with this fault."""
        return self.reasons.get(detail) or self.reasons.get("") or (detail,)

    def claimed(self) -> frozenset[str]:
        """The reasons over which this fault's precision is counted."""
        if self.claims is not None:
            return frozenset(self.claims)
        listed = [reason for reasons in self.reasons.values() for reason in reasons]
        return frozenset(listed or self.details)


DUPLICATES = ("same_url", "exact_duplicate", "near_duplicate", "natural_duplicate")

FAULTS = {
    "wrong_caption": Fault(
        share=0.08, stage="align", reasons={"": ("low_score",)}, details={"other_subject": 1}, first_pair=True
    ),
    "near_duplicate": Fault(
        share=0.10,
        stage="deduplicate",
        reasons={"": ("near_duplicate", "semantic_duplicate")},
        details={"jpeg": 2, "small_jpeg": 2, "large_jpeg": 1, "webp": 1, "small_webp": 2, "small_png": 2},
    ),
    "exact_duplicate": Fault(
        share=0.03, stage="deduplicate", reasons={"": ("exact_duplicate",)}, details={"other_host": 1}
    ),
    "same_url": Fault(
        share=0.065,
        stage="deduplicate",
        reasons={"": ("same_url", "exact_duplicate")},
        details={"second_caption": 1},
        claims=("same_url",),
    ),
    "natural_duplicate": Fault(
        share=0.0,
        stage="deduplicate",
        reasons={"": ("exact_duplicate", "near_duplicate", "semantic_duplicate")},
        details={},
        first_pair=True,
        claims=(),
    ),
    "dead_link": Fault(
        share=0.04,
        stage="download",
        reasons={},
        details={
            "http_404": 45, "dns": 16, "connection": 13, "http_410": 12, "http_500": 10, "too_many_redirects": 2,
            "blocked_address": 2,
        },
    ),
    "broken_file": Fault(
        share=0.02,
        stage="download",
        reasons={"html": ("not_an_image",), "truncated": ("truncated_image",), "empty": ("empty_body",)},
        details={"html": 5, "truncated": 4, "empty": 1},
    ),
    "opted_out": Fault(
        share=0.01,
        stage="download",
        reasons={
            "robots_everyone": ("robots",), "robots_agent": ("robots",), "noai": ("x_robots_tag",),
            "noimageai": ("x_robots_tag",), "none": ("x_robots_tag",), "agent_noai": ("x_robots_tag",),
            "tdm_reservation": ("tdmrep",),
        },
        details={
            "robots_everyone": 3, "robots_agent": 3, "noai": 2, "noimageai": 2, "none": 2, "agent_noai": 1,
            "tdm_reservation": 2,
        },
        first_pair=True,
    ),
    "oversized": Fault(
        share=0.002,
        stage="download",
        reasons={"bytes": ("too_many_bytes",), "unsized_bytes": ("too_many_bytes",), "pixels": ("too_many_pixels",)},
        details={"bytes": 1, "unsized_bytes": 1, "pixels": 2},
    ),
    "too_small": Fault(share=0.003, stage="image", reasons={"": ("too_small",)}, details={"icon": 1}),
    "bad_aspect": Fault(
        share=0.002, stage="image", reasons={"": ("aspect",)}, details={"banner": 1}
    ),
    "wrong_language": Fault(
        share=0.025, stage="text", reasons={"": ("wrong_language",)}, details={"translated": 1}, first_pair=True
    ),
    "boilerplate": Fault(
        share=0.005,
        stage="text",
        reasons={"": ("boilerplate", "too_few_words")},
        details={"named": 1},
        first_pair=True,
        claims=("boilerplate",),
    ),
    "empty_caption": Fault(
        share=0.002, stage="text", reasons={"": ("empty_caption",)}, details={"named": 1}, first_pair=True
    ),
}  # fmt: skip
"""Pictures without a name have boilerplate and empty captions besides (two to one)."""

ODDITIES = {
    "redirect_301": 3, "redirect_302": 3, "busy_once": 2, "slow": 2, "other_agent_noai": 2, "nofollow": 2, "query": 2,
}  # fmt: skip
ODD_SHARE = 0.01
"""Pairs without fault whose server behaves unlike the rest; a downloader must get them all."""
