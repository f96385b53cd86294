"""Pictures that a detector or a list of the user judges unsafe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import MinLen

from evenly.bounds import Bits, LocalPath, Share, check_bounds
from evenly.curation.arrays import Singles
from evenly.curation.decisions import Decisions
from evenly.curation.errors import RuleError

# Of NudeNet's 18 classes those of naked intimate parts; the others are covered parts, faces, feet, bellies and so on.
EXPOSED = (
    "ANUS_EXPOSED", "BUTTOCKS_EXPOSED", "FEMALE_BREAST_EXPOSED", "FEMALE_GENITALIA_EXPOSED", "MALE_GENITALIA_EXPOSED",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Unsafe:
    """Drop pictures in which a class of `classes` has a score of at least `threshold`.

    A low threshold drops harmless pictures, a high one keeps others; 0.25 is where the detector's own code begins to
    report.
    """

    threshold: Share = 0.25
    classes: Annotated[tuple[str, ...], MinLen(1)] = EXPOSED

    def __post_init__(self) -> None:
        if not self.classes:
            raise RuleError("`classes` must name what is unsafe; got none. Name some, or leave the detector out.")
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True)
class SafetyRule:
    """Drop unsafe pictures: by a detector (None: none; it needs the extra `safety`), and by lists, a file or several.

    `files` are sha256 hashes of files, `looks` perceptual hashes that a picture's comes within `max_distance` bits of,
    `domains` with all below them; URLs on these are not asked for.
    """

    detector: Unsafe | None = Unsafe()
    files: tuple[LocalPath, ...] = ()
    looks: tuple[LocalPath, ...] = ()
    max_distance: Bits = 4
    domains: tuple[LocalPath, ...] = ()

    def __post_init__(self) -> None:
        if self.detector is None and not (self.files or self.looks or self.domains):
            raise RuleError("`safety` needs a detector, files, looks or domains; got none. Give one, or leave it out.")
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True)
class BlockedDomains:
    """Lists of domains, a file or several, whose URLs are not asked for."""

    domains: tuple[str, ...]

    @classmethod
    def of(cls, rule: SafetyRule | None) -> "BlockedDomains | None":
        """The lists of a safety rule; None where it has none."""
        return cls(domains=rule.domains) if rule is not None and rule.domains else None


def measure_unsafe(scores: Singles, names: Sequence[str], rule: Unsafe) -> tuple[pa.Array, pa.Array]:
    """Return the highest score of the rule's classes, 4 digits, and which class it is; null where there are no scores.

    `scores` (n, c) are of the classes `names` (c,). Of equal scores the class first in the rule.
    """
    unknown = sorted(set(rule.classes) - set(names))
    if unknown:
        raise RuleError(f"`classes` must be some of {', '.join(names)}; got {', '.join(unknown)}. Correct the recipe.")
    class_scores = np.round(scores[:, [names.index(name) for name in rule.classes]].astype(np.float64), 4)
    missing = np.asarray(np.isnan(class_scores).any(axis=1), dtype=np.bool_)
    best = np.where(missing[:, None], 0.0, class_scores)
    best_class = np.asarray(rule.classes)[best.argmax(axis=1)] if len(class_scores) else np.empty(0, np.str_)
    return pa.array(best.max(axis=1), mask=missing), pa.array(best_class, pa.string(), mask=missing)


def judge_unsafe(values: pa.Array, rule: Unsafe) -> Decisions:
    """Judge scores: the threshold and above goes as unsafe; a null fails as not_measured."""
    unsafe = pc.if_else(pc.greater_equal(values, rule.threshold), "unsafe", "")
    return Decisions.of(reason=pc.fill_null(unsafe, "not_measured"), value=values, failed=values.is_null())
