"""Pictures that a detector or a list of the user judges unsafe, and hosts that a list names.

Reasons carry the hash of a list, never its content.
"""

from collections.abc import Collection, Iterator, Sequence
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
SHOWN = 12  # hexadecimal digits of a list's hash in a reason
_ROWS = 1 << 22  # comparisons at once


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


def judge_files(image_ids: pa.Array, blocked: Collection[str], sha256: str) -> Decisions:
    """Judge pictures by the sha256 of their file, in hex: reason blocked_file."""
    goes = pc.is_in(image_ids, pa.array(sorted(blocked), pa.string()))
    return Decisions.of(reason=_reason(goes, "blocked_file", sha256))


def judge_hashes(hashes: pa.Array, blocked: Collection[int], max_distance: int, sha256: str) -> Decisions:
    """Judge pictures by their perceptual hash: within `max_distance` bits of a blocked one is blocked_look.

    The value is the number of bits to the nearest blocked one; null without a hash.
    """
    own_hashes = hashes.fill_null(0).to_numpy()
    listed = np.array(sorted(blocked), dtype=np.uint64)
    bits = np.full(len(own_hashes), 65)
    size = max(1, _ROWS // max(1, len(listed)))
    for start in range(0, len(own_hashes) if len(listed) else 0, size):
        part = own_hashes[start : start + size]
        bits[start : start + size] = np.bitwise_count(part[:, None] ^ listed[None]).min(axis=1)
    value = pa.array(bits.astype(np.float64), mask=(bits > 64) | np.asarray(hashes.is_null()))
    goes = pc.fill_null(pc.less_equal(value, max_distance), False)
    return Decisions.of(reason=_reason(goes, "blocked_look", sha256), value=value)


def judge_hosts(hosts: pa.Array, blocked: Collection[str], sha256: str) -> Decisions:
    """Judge hosts: one that is a blocked domain, or lies below one, is blocked_domain. A null host stays.

    Hosts and domains are in ASCII (IDNA) and lower case.
    """
    blocked_domains = frozenset(blocked)
    coded = hosts.dictionary_encode()
    is_blocked = [
        host is not None and any(part in blocked_domains for part in _upwards(host))
        for host in coded.dictionary.to_pylist()
    ]
    goes = pc.fill_null(pa.array(is_blocked, pa.bool_()).take(coded.indices), False)
    return Decisions.of(reason=_reason(goes, "blocked_domain", sha256))


def _upwards(host: str) -> Iterator[str]:
    """The host and each domain that it lies below."""
    while host:
        yield host
        host = host.partition(".")[2]


def _reason(goes: pa.Array, reason: str, sha256: str) -> pa.Array:
    return pc.if_else(pc.fill_null(goes, False), f"{reason}:{sha256[:SHOWN]}", "")
