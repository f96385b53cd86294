"""Pairs and the concepts that they match, as flat arrays that balancing counts, thins out and draws for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import Flags, Floats, Ints
from evenly.curation.errors import ColumnsError

BATCH = 2**20
_WEIGHT_UNIT = 2.0**-20


@dataclass(frozen=True, eq=False, kw_only=True)
class MatchedPairs:
    """n pairs with m matches in all; a match is an entry of the concept list that the pair's text names.

    uids: strings (n,). ends (n + 1,): pair i has the matches ends[i] to ends[i + 1]. numbers (m,): which entry each
    match is, ascending in a pair. concepts: the texts of all E entries. language (n,): which of the L `languages` each
    pair is in; one language named "" where they are not told apart. shares (n,): the chance that the pair's text is
    the one taken of its picture's, 1 where each is judged; chosen (n,): whether it was taken.
    """

    uids: pa.Array
    ends: Ints
    numbers: npt.NDArray[np.int32]
    concepts: pa.Array
    language: npt.NDArray[np.int32]
    languages: tuple[str, ...]
    shares: Floats
    chosen: Flags

    def __len__(self) -> int:
        return len(self.uids)

    @classmethod
    def of(
        cls,
        uids: Sequence[str] | pa.Array,
        matches: pa.Array,
        concepts: Sequence[str] | pa.Array,
        *,
        language: pa.Array | None = None,
        languages: tuple[str, ...] | None = None,
    ) -> "MatchedPairs":
        """Return pairs from a list of entry numbers per pair; a null list is empty, a null language is "".

        languages: those of the whole, of which these pairs are a part; without them, those of the pairs, sorted.
        """
        n = len(matches)
        if len(uids) != n or (language is not None and len(language) != n):
            raise ColumnsError(
                f"`uids`, `matches` and `language` must be equally long; got {len(uids)} uids, {n} lists."
            )
        codes, names = np.zeros(n, dtype=np.int32), languages or ("",)
        if language is not None:
            texts = pc.fill_null(language.cast(pa.string()), "")
            names = languages or tuple(sorted(texts.unique().to_pylist()))
            codes = pc.index_in(texts, pa.array(names, pa.string())).to_numpy(zero_copy_only=False)
        lengths = matches.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        return cls(
            uids=uids if isinstance(uids, pa.Array) else pa.array(uids, pa.string()),
            ends=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            numbers=matches.flatten().to_numpy(zero_copy_only=False).astype(np.int32, copy=False),
            concepts=concepts if isinstance(concepts, pa.Array) else pa.array(concepts, pa.string()),
            language=codes.astype(np.int32, copy=False),
            languages=names,
            shares=np.ones(n),
            chosen=np.ones(n, dtype=bool),
        )

    @property
    def lengths(self) -> Ints:
        """The number of matches of each pair (n,)."""
        return np.diff(self.ends)

    @property
    def rows(self) -> Ints:
        """The pair of each match (m,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def cells(self) -> Ints:
        """Where each match stands in a flat table of languages by entries (m,)."""
        offsets = self.language.astype(np.int64) * len(self.concepts)
        return np.repeat(offsets, self.lengths) + self.numbers

    @property
    def table_shape(self) -> tuple[int, int]:
        """(L, E): languages by entries."""
        return len(self.languages), len(self.concepts)

    def part(self, start: int, stop: int) -> "MatchedPairs":
        """The pairs from `start` to before `stop`, without a copy of their matches."""
        ends = self.ends[start : stop + 1]
        return replace(
            self,
            uids=self.uids[start:stop],
            ends=ends - ends[0],
            numbers=self.numbers[ends[0] : ends[-1]],
            language=self.language[start:stop],
            shares=self.shares[start:stop],
            chosen=self.chosen[start:stop],
        )

    def batches(self, size: int = BATCH) -> Iterator[tuple[slice, slice, "MatchedPairs"]]:
        """Yield the pairs in parts of up to `size`, each with its range of pairs and of matches; one part at least."""
        for start in range(0, max(len(self), 1), size):
            stop = min(start + size, len(self))
            yield slice(start, stop), slice(self.ends[start], self.ends[stop]), self.part(start, stop)


def count_entries(matches: pa.Array, n_entries: int) -> Ints:
    """Return the pairs per entry (n_entries,) of lists of entry numbers, one list per pair."""
    return np.bincount(matches.flatten().to_numpy(zero_copy_only=False), minlength=n_entries)


def count_matches(pairs: MatchedPairs, weights: Floats | None = None) -> Floats:
    """Return the pairs per language and entry (L, E), each counted by its weight (n,), 1 without weights.

    Weights are rounded to 2**-20: sums are then exact below 8e9, so that counts of shards add up to those of the whole
    in any order.
    """
    n_languages, n_entries = pairs.table_shape
    counts = np.zeros(n_languages * n_entries)
    for rows, _, part in pairs.batches():
        exact = None if weights is None else (np.rint(weights[rows] / _WEIGHT_UNIT) * _WEIGHT_UNIT)[part.rows]
        counts += np.bincount(part.cells, weights=exact, minlength=len(counts))
    return counts.reshape(n_languages, n_entries)
