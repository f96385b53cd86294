import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.errors import ColumnsError, RuleError
from evenly.curation.retrieval_sets import PoolPictures, RetrievalRule, rank_candidates


def pool_of(rows, *, image_ids=None, excluded=()):
    rows = np.asarray(rows, np.float64)
    n = len(rows)
    return PoolPictures(
        uids=np.array([f"u{number}" for number in range(n)]),
        image_ids=np.array(image_ids or [f"i{number}" for number in range(n)]),
        rows=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16),
        excluded=np.array(["test_picture" if number in excluded else "" for number in range(n)]),
    )


def judge(pool, scores, *, image=None, classes=None, **rule):
    n = len(scores)
    found = rank_candidates(
        pool,
        classes=np.array(classes or [0] * n),
        places=np.arange(n) % len(pool.uids),
        scores=np.array(scores, float),
        image_cosines=np.array(image or [1.0] * n, float),
        rule=RetrievalRule(**rule),
    )
    columns = zip(found.order, found.ranks, found.verdicts, found.reasons, found.into, strict=True)
    return [(int(at), int(rank), str(verdict), str(why), str(into)) for at, rank, verdict, why, into in columns]


def test_the_best_are_kept_and_every_other_candidate_has_a_reason():
    pool = pool_of(np.eye(6), image_ids=["i0", "i1", "i0", "i3", "i4", "i5"], excluded={1})
    found = judge(pool, [0.5, 0.9, 0.4, 0.3, 0.3, 0.2], image=[1, 1, 1, 0.1, 1, 1], per_class=2, min_image_cosine=0.25)
    assert found == [
        (1, 1, "dropped", "test_picture", ""),
        (0, 2, "kept", "", ""),
        (2, 3, "merged", "same_picture", "u0"),
        (3, 4, "dropped", "image_cosine", ""),
        (4, 5, "kept", "", ""),
        (5, 6, "dropped", "beyond_per_class", ""),
    ]


def test_near_duplicates_go_into_the_nearest_that_is_kept_and_only_above_the_limit():
    pool = pool_of([[1, 0], [0, 1], [0.98, 0.2], [0.6, 0.8], [0.7, 0.714]])
    found = judge(pool, [5, 4, 3, 2, 1], max_duplicate_cosine=0.9)
    assert [(verdict, into) for _, _, verdict, _, into in found] == [
        ("kept", ""),
        ("kept", ""),
        ("merged", "u0"),
        ("kept", ""),
        ("merged", "u3"),
    ]
    assert [one[2] for one in judge(pool, [5, 4, 3, 2, 1])] == ["kept"] * 5


def test_a_picture_may_serve_several_classes_each_judged_by_itself():
    found = judge(pool_of(np.eye(2)), [1, 2, 3, 4], classes=[0, 0, 1, 1], per_class=1)
    assert [(at, verdict) for at, _, verdict, _, _ in found] == [
        (1, "kept"),
        (0, "dropped"),
        (3, "kept"),
        (2, "dropped"),
    ]


@given(order=st.permutations(range(8)), scores=st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=8, max_size=8))
def test_the_order_of_candidates_does_not_count_and_equal_scores_go_by_uid(order, scores):
    pool = pool_of(np.random.default_rng(2).normal(size=(8, 3)), excluded={3})

    def verdicts(places):
        found = rank_candidates(
            pool,
            classes=np.zeros(8, np.int64),
            places=places,
            scores=np.array(scores)[places],
            image_cosines=np.ones(8),
            rule=RetrievalRule(per_class=4, max_duplicate_cosine=0.7),
        )
        uids = pool.uids[places[found.order]].tolist()
        return list(zip(uids, found.verdicts.tolist(), found.reasons.tolist(), found.into.tolist(), strict=True))

    assert verdicts(np.array(order)) == verdicts(np.arange(8))
    assert sum(verdict == "kept" for _, verdict, _, _ in verdicts(np.arange(8))) <= 4


def test_no_candidates_and_wrong_rules():
    assert judge(pool_of(np.eye(2)), []) == []
    with pytest.raises(RuleError, match="`per_class` must be at least 1; got 0"):
        RetrievalRule(per_class=0)
    with pytest.raises(RuleError, match="`max_duplicate_cosine` must be a cosine"):
        RetrievalRule(max_duplicate_cosine=2)
    with pytest.raises(ColumnsError, match="equally long"):
        judge(pool_of(np.eye(2)), [1, 2], classes=[0])
