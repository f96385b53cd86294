import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.errors import RuleError
from evenly.curation.exclusions import decontaminate
from evenly.curation.exclusions.decontaminate import (
    Contamination,
    Pictures,
    judge_contamination,
    nearest_features,
    nearest_hashes,
)

GREY, RED = np.full(768, 128, np.uint8), np.tile(np.array([200, 0, 0], np.uint8), 256)


def pictures(hashes, colours=None, rows=None):
    n = len(hashes)
    return Pictures(
        hashes=np.array([one or 0 for one in hashes], np.uint64),
        colours=np.stack([GREY] * n if colours is None else colours) if n else np.empty((0, 768), np.uint8),
        decoded=np.array([one is not None for one in hashes], np.bool_),
        rows=None if rows is None else np.asarray(rows, np.float16),
    )


def judged(pool, held_out, **rule):
    rule = Contamination(**rule)
    return judge_contamination(nearest_hashes(pool, held_out, rule), nearest_features(pool, held_out, rule))


def test_a_picture_that_looks_like_one_of_the_evaluation_set_goes_with_the_bits_between_them():
    decisions = judged(pictures([0b111, 2**40 - 1, None]), pictures([0b1, 0b110, None]), semantic=None)
    assert decisions.reason.to_pylist() == ["contaminated_perceptual", "", ""]
    assert decisions.value.to_pylist() == [1.0, None, None]


def test_the_nearest_is_named_and_of_equals_the_first():
    found = nearest_hashes(pictures([0b11]), pictures([0b1111, 0b10, 0b1]), Contamination())
    assert (found[0].tolist(), found[1].tolist()) == ([1], [1.0])


def test_other_colours_are_no_twin_unless_colours_do_not_count():
    pool, held_out = pictures([1], [GREY], [[1, 0]]), pictures([1], [RED], [[1, 0]])
    assert judged(pool, held_out).reason.to_pylist() == [""]
    assert judged(pool, held_out, colour=None).reason.to_pylist() == ["contaminated_perceptual"]


def test_features_are_compared_where_looks_do_not_agree():
    pool = pictures([1, 1, 1], rows=[[1, 0], [0.8, 0.6], [0, 1]])
    decisions = judged(pool, pictures([2**60 - 1], rows=[[1, 0]]), perceptual=8, semantic=0.79)
    assert decisions.reason.to_pylist() == ["contaminated_semantic", "contaminated_semantic", ""]
    assert decisions.value.to_pylist() == [1.0, 0.7998, None]


def test_a_set_known_by_features_alone_is_compared_by_them_whatever_the_colours():
    held_out = pictures([None], [RED], [[1, 0]])
    decisions = judged(pictures([0], [GREY], [[1, 0]]), held_out)
    assert decisions.reason.to_pylist() == ["contaminated_semantic"]


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 255)), max_size=20),
    st.lists(st.one_of(st.none(), st.integers(0, 255)), max_size=20),
    st.integers(0, 8),
    st.sampled_from([1, 7, 1 << 22]),
)
def test_looks_are_those_of_comparing_all_with_all(pool, held_out, limit, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decontaminate, "_ROWS", block)
        which, _ = nearest_hashes(pictures(pool), pictures(held_out), Contamination(perceptual=limit))
    assert which.tolist() == [_nearest(one, held_out, limit) for one in pool]


def _nearest(one, held_out, limit):
    near = [((one ^ other).bit_count(), at) for at, other in enumerate(held_out) if None not in (one, other)]
    return min((pair for pair in near if pair[0] <= limit), default=(0, -1))[1]


@pytest.mark.parametrize("block", [1, 5, 1 << 22])
def test_features_are_those_of_comparing_all_with_all(monkeypatch, block):
    monkeypatch.setattr(decontaminate, "_ROWS", block)
    rows = np.random.default_rng(2).standard_normal((60, 3))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    pool, held_out = pictures([None] * 40, rows=rows[:40]), pictures([None] * 20, rows=rows[40:])
    which, cosine = nearest_features(pool, held_out, Contamination(semantic=0.9))
    exact = np.round(rows[:40].astype(np.float64) @ rows[40:].astype(np.float64).T, 4)
    near = exact.max(axis=1) >= 0.9
    assert np.array_equal(which, np.where(near, exact.argmax(axis=1), -1))
    assert np.array_equal(cosine[near], exact.max(axis=1)[near])
    assert 0 < near.sum() < 40


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"perceptual": None, "semantic": None}, "got none"),
        ({"perceptual": 65}, "got 65"),
        ({"semantic": 0}, "got 0"),
        ({"colour": 256}, "got 256"),
    ],
)
def test_impossible_rule_is_refused(rule, text):
    with pytest.raises(RuleError, match=text):
        Contamination(**rule)
