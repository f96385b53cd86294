import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.features import retrieve
from evenly.features.errors import RowsError
from evenly.features.retrieve import concept_prototype, mutual_similarity, top_concepts
from evenly.features.unit_rows import cosine_scores, to_unit_rows


def rows(n, d=12, seed=0):
    return to_unit_rows(np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32))[0]


def by_sorting(images, texts, k):
    """The definition: all scores, sorted by score downwards, then by row number."""
    scores = np.stack([cosine_scores(np.broadcast_to(image, texts.shape), texts) for image in images])
    order = np.stack([np.lexsort((np.arange(len(texts)), -row)) for row in scores])[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(1, 60))
def test_the_answer_is_that_of_sorting_all_scores_whatever_the_blocks(n, m, k, seed, block):
    images, texts = rows(n, seed=seed), rows(m, seed=seed + 10)
    texts = np.concatenate([texts, texts[: m // 2]])  # ties
    k = min(k, len(texts))
    want = by_sorting(images, texts, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieve, "_BLOCK_SCORES", block)
        patch.setattr(retrieve, "_TEXT_ROWS", 1 + block // 3)
        got = top_concepts(images, texts, k)
    assert np.array_equal(got[0], want[0])
    assert got[1].tobytes() == want[1].tobytes()


def test_equal_scores_are_ordered_by_the_smaller_row_number():
    texts = np.repeat(rows(1), 50, axis=0)
    indices, scores = top_concepts(rows(2, seed=1), texts, 5)
    assert indices.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert (scores == scores[:, :1]).all()


def test_no_pictures_have_no_concepts():
    indices, scores = top_concepts(rows(1)[:0], rows(4), 2)
    assert indices.shape == scores.shape == (0, 2)


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_must_be_at_most_the_number_of_texts(k):
    with pytest.raises(RowsError, match=f"`k` must be from 1 to the number of texts, 4; got {k}"):
        top_concepts(rows(2), rows(4), k)


def test_rows_of_another_encoder_are_refused():
    with pytest.raises(RowsError, match="`texts` must have the 12 columns of `images`; got 8"):
        top_concepts(rows(2), rows(4, d=8), 1)


def test_nan_is_refused():
    texts = rows(4)
    texts[2, 3] = np.nan
    with pytest.raises(RowsError, match="got NaN"):
        top_concepts(rows(2), texts, 1)


def test_the_prototype_of_a_concept_leaves_out_the_pictures_that_are_least_alike():
    rows, _ = to_unit_rows(np.array([[1, 0.1, 0], [1, -0.1, 0], [0, 0, 1], [1, 0, 0.05]], np.float32))
    alike = mutual_similarity(rows)
    assert np.argmin(alike) == 2
    vector, seeds = concept_prototype(rows, share=0.5)
    assert len(seeds) == 2
    assert 2 not in seeds
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert concept_prototype(rows, share=1.0)[1].tolist() == [0, 1, 2, 3]
    assert concept_prototype(rows[:1])[1].tolist() == [0]
    assert mutual_similarity(rows[:1]).tolist() == [1.0]


def test_mutual_similarity_is_the_mean_cosine_with_the_others():
    rows, _ = to_unit_rows(np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32))
    single = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    cosines = single @ single.T
    expected = [(cosines[row].sum() - 1) / 6 for row in range(7)]
    assert mutual_similarity(rows).tolist() == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(("n", "share", "message"), [(0, 0.5, "at least one picture"), (3, 0.0, "`share` must be")])
def test_a_prototype_of_nothing_is_refused(n, share, message):
    with pytest.raises(RowsError, match=message):
        concept_prototype(np.ones((n, 4), np.float16), share=share)
