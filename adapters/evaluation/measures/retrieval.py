"""Retrieval as a measure of an encoder: how early what belongs to a query comes, by blocks, with intervals by group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures.bootstrap import Interval, percentile_interval, resampled_means
from evenly.adapters.features import Floats

TOPS = (1, 5, 10)
_BLOCK_SCORES = 4_000_000
_BINS = 20_001  # cosines from -1 to 1 in steps of 1e-4, the digits to which scores are stored
Booleans = npt.NDArray[np.bool_]
Relevance = Callable[[range], tuple[Booleans, Booleans]]
"""For a block of b queries (b, m) twice: which rows of the gallery belong to each, and which are left out for it."""


@dataclass(frozen=True, kw_only=True)
class RetrievalMeasures:
    """Measures of `queries` that look for their own among `gallery` rows; those without any are `unanswerable`.

    recall: for each of TOPS the share of queries with an answer among so many first (R@k). median_rank: of the first
    answer, from 1. mean_average_precision: over all answers. auc: the chance that a matched pair has a higher cosine
    than a mismatched one, a tie counted half. A row that is no answer goes before answers of the same score.
    """

    recall: dict[int, Interval]
    median_rank: float
    mean_average_precision: Interval
    auc: Interval
    queries: int
    unanswerable: int
    gallery: int


def paired(query_numbers: npt.NDArray[np.int64], gallery_numbers: npt.NDArray[np.int64], gallery: int) -> Relevance:
    """A query belongs to the rows that it is paired with (p,), (p,): a caption to all pictures that have it."""
    order = np.argsort(query_numbers, kind="stable")
    numbers, answers = query_numbers[order], gallery_numbers[order]

    def relevance(block: range) -> tuple[Booleans, Booleans]:
        belongs = np.zeros((len(block), gallery), np.bool_)
        first, last = np.searchsorted(numbers, [block.start, block.stop])
        belongs[numbers[first:last] - block.start, answers[first:last]] = True
        return belongs, np.zeros_like(belongs)

    return relevance


def same_name(names: npt.NDArray[Any]) -> Relevance:
    """Rows belong to the others of their name (n,), such as a label or a group of duplicates; to themselves never."""
    numbers = np.unique(names, return_inverse=True)[1]

    def relevance(block: range) -> tuple[Booleans, Booleans]:
        is_own = np.arange(len(numbers)) == np.arange(block.start, block.stop)[:, None]
        return (numbers == numbers[block.start : block.stop, None]) & ~is_own, is_own

    return relevance


def judge_retrieval(
    queries: Floats,
    gallery: Floats,
    relevance: Relevance,
    *,
    seed: int,
    groups: Sequence[Any] | npt.NDArray[Any] | None = None,
) -> RetrievalMeasures:
    """Measures of unit rows `queries` (n, d) in `gallery` (m, d), with 95 % intervals over resampled groups of queries.

    groups: a name per query; None makes each one of its own. Held are 4 million scores at a time.
    """
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1] or not len(gallery):
        raise SplitError(
            f"`gallery` must hold rows of the {queries.shape[-1]} columns of `queries`; got {gallery.shape}. Use one "
            "encoder, and at least one row."
        )
    names = np.arange(len(queries)) if groups is None else np.asarray(groups)
    ranks = np.zeros(len(queries), np.int64)
    precisions = np.full(len(queries), np.nan)
    mismatched = np.zeros(_BINS, np.int64)
    owners, places = list[npt.NDArray[np.int64]](), list[npt.NDArray[np.int64]]()
    step = max(1, _BLOCK_SCORES // len(gallery))
    for start in range(0, len(queries), step):
        block = range(start, min(start + step, len(queries)))
        bins = _bins(queries[block.start : block.stop] @ gallery.T)
        belongs, left_out = relevance(block)
        mismatched += np.bincount(bins[~belongs & ~left_out], minlength=_BINS)
        owners.append(np.nonzero(belongs)[0] + start)
        places.append(bins[belongs])
        ranks[block.start : block.stop], precisions[block.start : block.stop] = _ranks_and_precisions(
            bins, belongs, left_out
        )
    answered = ranks > 0
    hits = np.stack([ranks[answered] <= top for top in TOPS] + [precisions[answered]], axis=1).astype(np.float64)
    replicates = resampled_means(hits, seed=seed, groups=names[answered])
    means = hits.mean(axis=0) if len(hits) else np.full(len(TOPS) + 1, np.nan)
    intervals = [percentile_interval(float(mean), column) for mean, column in zip(means, replicates.T, strict=True)]
    owner = np.concatenate([np.zeros(0, np.int64), *owners])
    return RetrievalMeasures(
        recall=dict(zip(TOPS, intervals, strict=False)),
        median_rank=float(np.median(ranks[answered])) if answered.any() else float("nan"),
        mean_average_precision=intervals[-1],
        auc=_auc(np.concatenate([np.zeros(0, np.int64), *places]), mismatched, names[owner], seed),
        queries=int(answered.sum()),
        unanswerable=int((~answered).sum()),
        gallery=len(gallery),
    )


def first_ranks(queries: Floats, gallery: Floats, relevance: Relevance) -> npt.NDArray[np.int64]:
    """The rank of each query's first answer, from 1, as `judge_retrieval` has it; 0 for a query without any."""
    ranks = np.zeros(len(queries), np.int64)
    step = max(1, _BLOCK_SCORES // len(gallery))
    for start in range(0, len(queries), step):
        block = range(start, min(start + step, len(queries)))
        bins = _bins(queries[block.start : block.stop] @ gallery.T)
        belongs, left_out = relevance(block)
        best = np.where(belongs, bins, -1).max(axis=1)
        ahead = ((bins >= best[:, None]) & ~belongs & ~left_out).sum(axis=1)
        ranks[block.start : block.stop] = np.where(belongs.any(axis=1), ahead + 1, 0)
    return ranks


def average_precisions(queries: Floats, gallery: Floats, relevance: Relevance) -> Floats:
    """The average precision of each query over its answers, as `judge_retrieval` has it; NaN for one without any."""
    precisions = np.full(len(queries), np.nan)
    step = max(1, _BLOCK_SCORES // len(gallery))
    for start in range(0, len(queries), step):
        block = range(start, min(start + step, len(queries)))
        bins = _bins(queries[block.start : block.stop] @ gallery.T)
        precisions[block.start : block.stop] = _ranks_and_precisions(bins, *relevance(block))[1]
    return precisions


def modality_gap(first: Floats, second: Floats) -> float:
    """The distance of the means of two sets of unit rows (n, d) and (m, d).

    Liang et al., NeurIPS 2022, arXiv:2203.02053: pictures and texts lie in cones of their own.
    """
    return float(np.linalg.norm(first.mean(axis=0, dtype=np.float64) - second.mean(axis=0, dtype=np.float64)))


def _bins(cosines: Floats) -> npt.NDArray[np.int64]:
    return np.rint((np.clip(cosines, -1, 1) + 1) * (_BINS // 2)).astype(np.int64)


def _ranks_and_precisions(
    bins: npt.NDArray[np.int64], belongs: Booleans, left_out: Booleans
) -> tuple[npt.NDArray[np.int64], Floats]:
    """The rank of the first answer in each row of a block (b, m), and the average precision: 0 and NaN of none.

    A row that is no answer goes before answers of the same score.
    """
    keys = np.sort(np.where(left_out, -1, 2 * bins + ~belongs).astype(np.int32), axis=1)[:, ::-1]
    answers = (keys >= 0) & (keys % 2 == 0)
    n_answers = answers.sum(axis=1)
    shares = np.cumsum(answers, axis=1) / np.arange(1, answers.shape[1] + 1)
    precisions = np.divide(
        (shares * answers).sum(axis=1), n_answers, out=np.full(len(answers), np.nan), where=n_answers > 0
    )
    return np.where(n_answers > 0, answers.argmax(axis=1) + 1, 0), precisions


def _auc(
    places: npt.NDArray[np.int64], mismatched: npt.NDArray[np.int64], groups: npt.NDArray[Any], seed: int
) -> Interval:
    """The mean over matched pairs of the share of mismatched ones below; these stay as they are in all resamples."""
    if not len(places) or not mismatched.sum():
        return Interval(float("nan"), float("nan"), float("nan"))
    below = (np.cumsum(mismatched) - mismatched / 2) / mismatched.sum()
    shares = below[places]
    return percentile_interval(float(shares.mean()), resampled_means(shares[:, None], seed=seed, groups=groups)[:, 0])
