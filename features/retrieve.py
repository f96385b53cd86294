"""Texts that lie nearest to a picture, and what pictures that were found for a concept have in common."""

import numpy as np
import numpy.typing as npt

from evenly.features.class_weights import class_weights
from evenly.features.errors import RowsError
from evenly.features.unit_rows import SCORE_DIGITS, Half, Single, checked_rows, cosine_scores

_BLOCK_SCORES = 8_000_000  # scores held at once: 32 MB
_TEXT_ROWS = 8192
# Two scores that round to the same 4 digits differ by less than 1e-4; single precision adds at most about 1e-5.
_MARGIN = 2e-4


def top_concepts(
    images: npt.NDArray[np.floating], texts: Half, k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The `k` texts nearest to each picture: row numbers in `texts` (n, k) and cosine scores (n, k), best first.

    `images` (n, d) and `texts` (m, d) are unit rows, as they are stored. Scores are those of `cosine_scores`; equal
    scores are ordered by the smaller row number, so the answer does not depend on block sizes, threads or the BLAS in
    use. Memory is bounded: about 32 MB of scores and one block of texts, whatever n and m.
    """
    checked_rows("images", images)
    checked_rows("texts", texts)
    if images.shape[1] != texts.shape[1]:
        raise RowsError(
            f"`texts` must have the {images.shape[1]} columns of `images`; got {texts.shape[1]}. Use one encoder."
        )
    if not 1 <= k <= len(texts):
        raise RowsError(
            f"`k` must be from 1 to the number of texts, {len(texts)}; got {k}. Ask for fewer, or add texts."
        )
    indices = np.empty((len(images), k), np.int64)
    scores = np.empty((len(images), k), np.float64)
    step = max(1, _BLOCK_SCORES // len(texts))
    for start in range(0, len(images), step):
        block = images[start : start + step]
        for offset, row in enumerate(rough_scores(block, texts)):
            indices[start + offset], scores[start + offset] = _best(block[offset], texts, row, k)
    return indices, scores


def rough_scores(block: npt.NDArray[np.floating], texts: Half) -> Single:
    """Cosines (b, m) in single precision, good to about 1e-5, of unit rows (b, d) with unit rows (m, d)."""
    left = _lengthened(block)
    rough = np.empty((len(block), len(texts)), np.float32)
    for start in range(0, len(texts), _TEXT_ROWS):
        text_block = texts[start : start + _TEXT_ROWS]
        np.matmul(left, _lengthened(text_block).T, out=rough[:, start : start + len(text_block)])
    return rough


def least_contender(rough: Single, k: int) -> float:
    """The least of `rough_scores` (n,) with which a row may be one of the `k` best by `cosine_scores`.

    Raises RowsError for NaN.
    """
    if np.isnan(rough).any():
        raise RowsError("`images` and `texts` must hold finite numbers; got NaN. Encode these rows again.")
    return float(np.partition(rough, len(rough) - k)[len(rough) - k] - _MARGIN) if k <= len(rough) else -np.inf


def mutual_similarity(rows: Half) -> npt.NDArray[np.float64]:
    """The mean cosine (n,) of each of the unit `rows` (n, d) with the others, 4 digits; 1 for a row alone.

    This is what ReCo looks for a seed by (Shin et al., NeurIPS 2022, arXiv:2206.07045), on one feature per picture in
    the place of one per patch: there the largest over the patches of each other picture is averaged, here there is one.
    """
    checked_rows("rows", rows)
    n = len(rows)
    if n < 2:
        return np.ones(n)
    single = rows.astype(np.float64)
    single /= np.sqrt((single * single).sum(axis=1, keepdims=True))
    sums = single @ single.sum(axis=0)
    return np.asarray(((sums - 1.0) / (n - 1)).round(SCORE_DIGITS) + 0.0)


def concept_prototype(rows: Half, *, share: float = 0.5) -> tuple[Single, npt.NDArray[np.int64]]:
    """The unit mean (d,) of the `share` of the `rows` (n, d) that are the most alike, and which these are.

    At least one row; of equally similar ones the first. ReCo takes a patch from every picture; a whole picture may be
    off the concept, so here the least alike ones are left out. Raises RowsError without rows, or where they cancel out.
    """
    if not 0 < share <= 1:
        raise RowsError(f"`share` must be above 0 and at most 1; got {share}. Take some of the rows.")
    if not len(rows):
        raise RowsError("`rows` must hold at least one picture; got none. Leave out concepts for which none was found.")
    alike = mutual_similarity(rows)
    seeds = np.sort(np.lexsort((np.arange(len(rows)), -alike))[: max(1, int(np.ceil(share * len(rows))))])
    return class_weights([rows[seeds]])[0], seeds


def _lengthened(rows: npt.NDArray[np.floating]) -> Single:
    """Rows in single precision at length 1: half precision keeps it only to about 1e-3."""
    single = rows.astype(np.float32)
    single /= np.maximum(np.sqrt(np.einsum("nd,nd->n", single, single)), np.float32(1e-12))[:, None]
    return single


def _best(
    image: npt.NDArray[np.floating], texts: Half, rough: Single, k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    candidates = np.flatnonzero(rough >= least_contender(rough, k))
    exact = cosine_scores(np.broadcast_to(image, (len(candidates), len(image))), texts[candidates])
    order = np.lexsort((candidates, -exact))[:k]
    return candidates[order], exact[order]
