"""The cosine from which records are one, chosen by labelled records (CLIPPINGS, Arora et al. 2023, arXiv:2304.03464).

CLIPPINGS chooses the eps of its clustering on validation data by the adjusted Rand index (ARI), and no other encoder's
means anything. Here single link is cut at every step of a cosine, and the best cut is judged on other records.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evenly.curation.arrays import Floats, Ints
from evenly.curation.draws import Z95
from evenly.curation.duplicates.merging import Forest, components

STEP = 0.005
"""Distance of the cosines that are tried; the best index hardly differs between neighbours."""
FOLDS = 50
"""Most folds of the jackknife."""
_BLOCK = 2048


@dataclass(frozen=True, kw_only=True, eq=False)
class Links:
    """The strongest links (i, j), i < j, that hold rows together at a cosine of at least `floor`, and their cosines.

    Rows that are connected by links of at least t are one record at the threshold t: single link, for every t at once.
    """

    n: int
    left: Ints
    right: Ints
    cosine: Floats
    floor: float

    def records(self, min_cosine: float) -> Ints:
        """The record (n,) of each row at a threshold, which is at least `floor`."""
        is_near = self.cosine >= min_cosine
        return components(self.n, self.left[is_near], self.right[is_near])


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The agreement of linked records with the true ones.

    `ari` with its 95 % interval; `precision`, the share of linked pairs of rows that are of one record (1 without
    links), and `recall`, that of pairs of one record that are linked (1 where there are none).
    """

    ari: float
    low: float
    high: float
    precision: float
    recall: float


def find_links(rows: npt.NDArray[np.float16], *, floor: float) -> Links:
    """The links of unit rows (n, d), each pair measured; rows of zeros have none. Time grows with n^2."""
    wide = rows.astype(np.float32)
    forest = Forest(len(rows))
    for start in range(0, len(rows), _BLOCK):
        cosines = wide[start : start + _BLOCK] @ wide.T
        i, j = np.nonzero(cosines >= floor)
        later = i + start < j
        i, j = i[later], j[later]
        forest.add(i + start, j, -cosines[i, j].astype(np.float64))
    left, right = forest.edges()
    cosine = np.einsum("nd,nd->n", wide[left], wide[right]).astype(np.float64)
    return Links(n=len(rows), left=left, right=right, cosine=cosine, floor=floor)


def agreement_curve(links: Links, truth: Sequence[str]) -> list[tuple[float, float]]:
    """(cosine, ARI) for each step from the floor to 1, rising."""
    codes = _codes(truth)
    tried = np.round(np.arange(np.ceil(links.floor / STEP), np.floor(1 / STEP) + 1) * STEP, 6)
    return [(float(cosine), adjusted_rand(links.records(cosine), codes)) for cosine in tried]


def best_threshold(curve: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The (cosine, ARI) with the largest index; of equal ones the highest cosine, which links least."""
    return max(curve, key=lambda point: (point[1], point[0]))


def judge_records(records: Ints, truth: Sequence[str], groups: Sequence[str]) -> Agreement:
    """Agreement of `records` (n,) with the true ones; the interval is a jackknife over folds of whole `groups` (n,).

    NaN ends with fewer than two groups. A bootstrap would put copies of a record into one resample, and they would
    link.
    """
    codes = _codes(truth)
    ari = adjusted_rand(records, codes)
    fold = _codes(groups) % FOLDS
    left_out = [
        adjusted_rand(records[fold != fold_number], codes[fold != fold_number]) for fold_number in np.unique(fold)
    ]
    k = len(left_out)
    error = np.sqrt((k - 1) / k * np.sum((np.array(left_out) - np.mean(left_out)) ** 2)) if k > 1 else np.nan
    linked, true = _pairs(records), _pairs(codes)
    agreeing = _pairs(
        _codes(
            [f"{record} {true_record}" for record, true_record in zip(records.tolist(), codes.tolist(), strict=True)]
        )
    )
    return Agreement(
        ari=ari,
        low=float(max(ari - Z95 * error, -1.0)) if k > 1 else float("nan"),
        high=float(min(ari + Z95 * error, 1.0)) if k > 1 else float("nan"),
        precision=agreeing / linked if linked else 1.0,
        recall=agreeing / true if true else 1.0,
    )


def adjusted_rand(records: Ints, truth: Ints) -> float:
    """Hubert and Arabie's adjusted Rand index of two partitions: 1 where they agree, about 0 by chance."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(truth, records))


def _codes(values: Sequence[str]) -> Ints:
    return np.unique(np.asarray(values, dtype=np.str_), return_inverse=True)[1].astype(np.int64)


def _pairs(codes: Ints) -> int:
    """Pairs of rows of one code."""
    sizes = np.bincount(codes)
    return int((sizes * (sizes - 1) // 2).sum())
