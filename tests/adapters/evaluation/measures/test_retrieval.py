import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures import retrieval
from evenly.adapters.evaluation.measures.retrieval import judge_retrieval, modality_gap, paired, same_name


def unit(n, d=6, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [4_000_000, 40])
def test_measures_are_those_of_sorting_all_scores_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(retrieval, "_BLOCK_SCORES", block)
    texts, pictures = unit(15), unit(20, seed=1)
    numbers, answers = np.array([[0, 3], [0, 4], *([place, place] for place in range(1, 14))]).T
    belongs = np.zeros((15, 20), bool)
    belongs[numbers, answers] = True
    got = judge_retrieval(texts, pictures, paired(numbers, answers, 20), seed=1)
    scores = texts @ pictures.T
    order = np.argsort(-scores, axis=1)
    ranks = np.array([np.flatnonzero(belongs[row][order[row]])[0] + 1 for row in range(14)])
    assert (got.queries, got.unanswerable, got.gallery) == (14, 1, 20)
    assert {top: got.recall[top].estimate for top in got.recall} == {top: (ranks <= top).mean() for top in (1, 5, 10)}
    assert got.median_rank == np.median(ranks)
    precision = np.mean([average_precision_score(belongs[row], scores[row]) for row in range(14)])
    assert got.mean_average_precision.estimate == pytest.approx(precision)
    assert got.auc.estimate == pytest.approx(roc_auc_score(belongs.ravel(), scores.ravel()), abs=1e-3)
    for interval in (*got.recall.values(), got.mean_average_precision, got.auc):
        assert interval.low <= interval.estimate <= interval.high


def test_pictures_find_others_of_their_name_and_never_themselves():
    rows = np.repeat(np.eye(3), 2, axis=0)
    got = judge_retrieval(rows, rows, same_name(np.array(["a", "a", "b", "b", "c", "d"])), seed=1)
    assert (got.queries, got.unanswerable) == (4, 2)
    assert got.recall[1].estimate == got.mean_average_precision.estimate == 1
    assert got.median_rank == 1


def test_equal_scores_are_no_success():
    rows = np.ones((6, 1))
    got = judge_retrieval(rows, rows, paired(np.arange(6), np.arange(6), 6), seed=1)
    assert got.recall[5].estimate == 0
    assert got.median_rank == 6
    assert got.auc.estimate == 0.5


def test_queries_of_one_group_are_resampled_together():
    rows = unit(30)
    numbers = np.arange(30)
    alone = judge_retrieval(rows, unit(30, seed=2), paired(numbers, numbers, 30), seed=1)
    together = judge_retrieval(rows, unit(30, seed=2), paired(numbers, numbers, 30), seed=1, groups=numbers // 15)
    assert alone.recall[10].estimate == together.recall[10].estimate
    assert alone.recall[10] != together.recall[10]


def test_rows_of_two_encoders_are_refused():
    with pytest.raises(SplitError, match="`gallery` must hold rows of the 6 columns of `queries`"):
        judge_retrieval(unit(2), unit(2, d=5), paired(np.arange(2), np.arange(2), 2), seed=1)


def test_the_gap_is_the_distance_of_the_means():
    assert modality_gap(np.array([[1.0, 0], [0, 1]]), np.array([[0.5, 0.5]])) == 0
    assert modality_gap(np.array([[1.0, 0]]), np.array([[0, 1.0]])) == pytest.approx(2**0.5)
