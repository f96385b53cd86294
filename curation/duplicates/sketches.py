"""Sign sketches: codes of feature rows whose differing bits count the angle between them.

Random hyperplanes (Charikar 2002): two unit rows fall on different sides of a plane with probability angle / pi. The
planes are drawn by a hash of the seed, and the products are sums of whole numbers, exact in single precision whatever
the order of summation: the code of a row is the same in every batch, on every machine.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.curation.arrays import Ints, Singles, Words
from evenly.curation.duplicates.lsh import bit_masks, seeded_words

WIDTH = 512
VERSION = 1  # raise it whenever the same rows and key would now give other codes
_BATCH = 8192
_FIXED = 2048.0  # features as whole 1/2048: float16 holds no more near 1
_PLANE = 32.0  # normal deviates as whole 1/32
_MISSED = 1e-6  # share of duplicates at the threshold that the limit on differing bits may cost
_RECALL = 0.99
_MOST_BITS = 64
_ROUNDED = 1e-3  # a cosine of float16 rows, rounded to 4 digits, may be that of an angle a little wider


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search of rows of a cosine: `tables` of `bits` out of WIDTH, then at most `max_distance` of all bits.

    recall: the expected share that is found of pairs exactly at the cosine; pairs above it are found more often.
    """

    tables: int
    bits: int
    max_distance: int
    recall: float

    def masks(self, key: str) -> Words:
        """The masks of the tables, drawn by a hash of `key`."""
        return bit_masks(self.tables, self.bits, width=WIDTH, key=key)

    def notes(self, candidates: int) -> dict[str, Any]:
        """Notes on the search, `candidates` in number."""
        facts = {"tables": self.tables, "bits": self.bits, "candidates": candidates}
        return {"search": facts | {"expected_recall_at_threshold": round(self.recall, 4)}}


@cache
def plan_search(min_cosine: float, tables: int) -> Search:
    """Return the search with the most bits per table, and so the fewest candidates, whose recall is at least 0.99.

    It follows from the rule alone, never from the data. The recall takes the differing bits of a code as binomial.
    """
    from scipy.stats import binom, hypergeom

    share = float(np.arccos(min_cosine - _ROUNDED) / np.pi)
    max_distance = int(binom.ppf(1 - _MISSED, WIDTH, share))
    differing = np.arange(max_distance + 1)
    chance = binom.pmf(differing, WIDTH, share)
    recalls = []
    for bits in range(1, _MOST_BITS + 1):
        agree = hypergeom.pmf(0, WIDTH, differing, bits)
        recalls.append(float((chance * (1 - (1 - agree) ** tables)).sum()))
    sufficient = [bits for bits, recall in enumerate(recalls, 1) if recall >= _RECALL]
    bits = max(sufficient, default=1)
    return Search(tables=tables, bits=bits, max_distance=max_distance, recall=recalls[bits - 1])


def sign_codes(rows: npt.NDArray[np.float16], places: Ints, *, key: str) -> Words:
    """Return the codes (m, WIDTH / 64) of `places` (m,) of the finite unit `rows` (n, d); `key` draws the planes."""
    planes = _planes(rows.shape[1], key)
    codes = np.empty((len(places), WIDTH // 64), dtype=np.uint64)
    for begin in range(0, len(places), _BATCH):
        scaled = np.rint(rows[places[begin : begin + _BATCH]].astype(np.float32) * np.float32(_FIXED))
        above = scaled @ planes >= 0
        codes[begin : begin + _BATCH] = np.packbits(above, axis=1, bitorder="little").view("<u8")
    return codes


def _planes(d: int, key: str) -> Singles:
    """Return WIDTH normals (d, WIDTH) of whole numbers, near normal deviates of deviation 32."""
    from scipy.special import ndtri

    uniform = ((seeded_words(f"{key}|planes", d * WIDTH) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(np.rint(ndtri(uniform) * _PLANE), dtype=np.float32).reshape(d, WIDTH)
