"""Duplicates among unit feature rows: candidates by sign sketches, each measured exactly, and their recall."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evenly.curation.arrays import Bytes, Flags, Floats, Ints
from evenly.curation.duplicates.colours import colour_distances, cosines
from evenly.curation.duplicates.lsh import Signatures, candidate_pairs, equal_runs, measure_recall
from evenly.curation.duplicates.merging import DuplicatePairs, Forest, Pairs
from evenly.curation.duplicates.sketches import plan_search, sign_codes

_BLOCK = 8192
COMPARISONS = 1 << 28
_ALL_BUT_SIGN, _INFINITE = np.uint16(0x7FFF), np.uint16(0x7C00)  # of float16
_PRECISION = 2e-3  # of products in single precision, generously


@dataclass(frozen=True, kw_only=True)
class NearRows:
    """Rows (n, d) that are duplicates by a cosine of at least `min_cosine` and, where given, `colours` within a limit.

    Rows that are not `usable`, or hold no finite direction, have no duplicates.
    """

    rows: npt.NDArray[np.float16]
    usable: Flags
    min_cosine: float
    colours: Bytes | None = None
    max_colour: float = 255.0

    def find(self, uids: pa.Array, *, tables: int, seed: int, step: str) -> DuplicatePairs:
        """Duplicates among rows with sorted `uids`, by `tables` of seeded hashing; notes hold the measured recall."""
        usable = self.usable & has_direction(self.rows)
        equal_pairs, firsts = self.equal_runs(usable)
        search, key = plan_search(self.min_cosine, tables), f"{seed}|{step}"
        codes = sign_codes(self.rows, firsts, key=key)
        forest = Forest(len(self.rows))
        forest.add(*equal_pairs, self.equal_weights(*equal_pairs))
        signatures = Signatures.within(codes, search.max_distance)
        for left, right in candidate_pairs(codes, search.masks(key), signatures=signatures):
            forest.add(*self.accepted(firsts[left], firsts[right]))
        edges = forest.edges()
        recall = measure_recall(
            uids,
            firsts,
            edges,
            self.all_duplicates,
            seed=seed,
            step=step,
            comparisons=COMPARISONS,
        )
        return DuplicatePairs(
            left=edges[0],
            right=edges[1],
            measure=partial(cosines, self.rows),
            colour=None if self.colours is None else partial(colour_distances, self.colours),
            compared=recall.compared,
            notes=recall.notes | search.notes(signatures.candidates),
        )

    @property
    def arrays(self) -> list[npt.NDArray[np.generic]]:
        """What equal rows have in common."""
        return [array for array in (self.rows, self.colours) if array is not None]

    def equal_runs(self, usable: Flags) -> tuple[Pairs, Ints]:
        """See lsh.equal_runs."""
        return equal_runs(self.arrays, usable)

    def equal_weights(self, left: Ints, right: Ints) -> Floats:
        """The weights (m,) of pairs of equal rows."""
        return -cosines(self.rows, left, right)

    def measure(self, left: Ints, right: Ints) -> Floats:
        """The cosine (m,) of pairs, 4 digits."""
        return cosines(self.rows, left, right)

    def colour_of(self, left: Ints, right: Ints) -> Floats | None:
        """The colour distance (m,) of pairs; None where it does not count."""
        return None if self.colours is None else colour_distances(self.colours, left, right)

    def accepted(self, left: Ints, right: Ints) -> tuple[Ints, Ints, Floats]:
        """The pairs that are duplicates, and their weights: a larger cosine is a stronger link."""
        if self.colours is not None:
            is_near = colour_distances(self.colours, left, right) <= self.max_colour
            left, right = left[is_near], right[is_near]
        cosine = cosines(self.rows, left, right)
        is_near = cosine >= self.min_cosine
        return left[is_near], right[is_near], -cosine[is_near]

    def all_duplicates(self, drawn: Ints, candidates: Ints) -> Pairs:
        """All duplicates (i, j), i < j, of `drawn` rows among `candidates`, by comparing all with all."""
        wide = self.rows[drawn].astype(np.float32)
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for begin in range(0, len(candidates), _BLOCK):
            block = candidates[begin : begin + _BLOCK]
            close = wide @ self.rows[block].astype(np.float32).T >= self.min_cosine - _PRECISION
            i, j = np.nonzero(close)
            first, second = drawn[i], block[j]
            left, right, _ = self.accepted(np.minimum(first, second), np.maximum(first, second))
            parts.append((left[left != right], right[left != right]))
        left, right = (np.concatenate(sides) for sides in zip(*parts, strict=True))
        return left, right


def has_direction(rows: npt.NDArray[np.float16]) -> Flags:
    """Whether each of `rows` (n, d) is finite and not all zeros."""
    finite = np.empty(len(rows), dtype=np.bool_)
    for begin in range(0, len(rows), _BLOCK):
        most = (rows[begin : begin + _BLOCK].view(np.uint16) & _ALL_BUT_SIGN).max(axis=1, initial=0)
        finite[begin : begin + _BLOCK] = (most > 0) & (most < _INFINITE)
    return finite
