"""Leave out of a training set the pictures of an evaluation set: those with near hashes or features.

Every picture is compared with every picture of the evaluation sets, so nothing is missed; time is the product of both
numbers. The limits mean what they mean between duplicates (curation/duplicates/image_duplicates.py).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import MinLen

from evenly.bounds import Bits, Levels, LocalPath, Share, check_bounds
from evenly.curation.arrays import Bytes, Flags, Floats, Ints, Words
from evenly.curation.decisions import Decisions, first_of
from evenly.curation.duplicates.colours import colour_distances, cosines, hash_distances
from evenly.curation.errors import RuleError

Nearest = tuple[Ints, Floats]
_ROWS = 1 << 22  # comparisons at once
_PRECISION = 2e-3  # of products in single precision, generously


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """Pictures with perceptual hashes within `perceptual` of 64 bits, or features of cosine at least `semantic`.

    Colour grids, where both pictures have one, must also be within `colour` of 255 levels; None: whatever the colours.
    `perceptual` or `semantic` None: not looked for.
    """

    perceptual: Bits | None = 16
    semantic: Share | None = 0.95
    colour: Levels | None = 22.0

    def __post_init__(self) -> None:
        if self.perceptual is None and self.semantic is None:
            raise RuleError("`decontaminate` must look for perceptual or semantic twins; got none. Give one.")
        check_bounds(self, RuleError)


@dataclass(frozen=True, kw_only=True)
class Decontamination(Contamination):
    """The evaluation `sets` to stay clear of: a name for each, and its folder, Parquet of pictures or features."""

    sets: Annotated[Mapping[str, LocalPath], MinLen(1)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """Values to compare n pictures by: hashes (n,), colours (n, 768) where `decoded` (n,), unit features (n, d).

    rows None: there are no features.
    """

    hashes: Words
    colours: Bytes
    decoded: Flags
    rows: npt.NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.hashes)


def nearest_hashes(pool: Pictures, held_out: Pictures, rule: Contamination) -> Nearest:
    """Return for each picture of the pool the held-out one with the nearest hash within the limits, else -1.

    With it comes the distance in bits, NaN where there is none. Of equally near ones, the first.
    """
    limit = -1 if rule.perceptual is None else rule.perceptual
    hashes = np.concatenate([pool.hashes, held_out.hashes])

    def candidates() -> Iterator[tuple[Ints, Ints]]:
        usable = np.flatnonzero(held_out.decoded)
        for rows in _parts(np.flatnonzero(pool.decoded), len(usable)):
            is_near = np.bitwise_count(pool.hashes[rows, None] ^ held_out.hashes[None, usable]) <= limit
            i, j = np.nonzero(is_near)
            yield rows[i], usable[j]

    def measure(left: Ints, right: Ints) -> Floats:
        return hash_distances(hashes, left, right + len(pool))

    return _nearest(pool, held_out, rule, candidates(), measure, sign=1.0)


def nearest_features(pool: Pictures, held_out: Pictures, rule: Contamination) -> Nearest:
    """Return for each picture of the pool the held-out one of the largest cosine within the limits, else -1.

    With it comes the cosine, 4 digits, NaN where there is none. Of equally near ones, the first.
    """
    if pool.rows is None or held_out.rows is None or rule.semantic is None:
        return np.full(len(pool), -1), np.full(len(pool), np.nan)
    least, rows = rule.semantic, np.concatenate([pool.rows, held_out.rows])
    wide = held_out.rows.astype(np.float32).T

    def candidates() -> Iterator[tuple[Ints, Ints]]:
        for part_rows in _parts(np.arange(len(pool)), len(held_out)):
            i, j = np.nonzero(rows[part_rows].astype(np.float32) @ wide >= least - _PRECISION)
            yield part_rows[i], j

    def measure(left: Ints, right: Ints) -> Floats:
        measured = cosines(rows, left, right + len(pool))
        return np.where(measured >= least, measured, np.nan)

    return _nearest(pool, held_out, rule, candidates(), measure, sign=-1.0)


def judge_contamination(by_hash: Nearest, by_features: Nearest) -> Decisions:
    """Judge pictures: contaminated_perceptual with the bits, else contaminated_semantic with the cosine."""

    def judged(nearest: Nearest, reason: str) -> Decisions:
        goes = pa.array(nearest[0] >= 0)
        value = pa.array(nearest[1], pa.float64(), mask=nearest[0] < 0)
        return Decisions.of(reason=pc.if_else(goes, reason, ""), value=value)

    return first_of(judged(by_hash, "contaminated_perceptual"), judged(by_features, "contaminated_semantic"))


def _parts(rows: Ints, n_others: int) -> Iterator[Ints]:
    size = max(1, _ROWS // max(1, n_others))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _nearest(
    pool: Pictures,
    held_out: Pictures,
    rule: Contamination,
    candidates: Iterator[tuple[Ints, Ints]],
    measure: Callable[[Ints, Ints], Floats],
    *,
    sign: float,
) -> Nearest:
    """Return the nearest of the candidates (pool row, held-out row) for each row; those of a row come in one part."""
    colours = np.concatenate([pool.colours, held_out.colours])
    nearest, distance = np.full(len(pool), -1), np.full(len(pool), np.nan)
    for pool_rows, held_rows in candidates:
        measured = measure(pool_rows, held_rows)
        is_near = ~np.isnan(measured)
        if rule.colour is not None:
            both_seen = pool.decoded[pool_rows] & held_out.decoded[held_rows]
            is_near &= ~both_seen | (colour_distances(colours, pool_rows, held_rows + len(pool)) <= rule.colour)
        left, right, measured = pool_rows[is_near], held_rows[is_near], measured[is_near]
        order = np.lexsort((right, sign * measured, left))
        first = order[np.flatnonzero(np.diff(left[order], prepend=-1))]
        nearest[left[first]], distance[left[first]] = right[first], measured[first]
    return nearest, distance
