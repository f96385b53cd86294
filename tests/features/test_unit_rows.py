import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evenly.features.errors import RowsError
from evenly.features.unit_rows import cosine_scores, to_unit_rows

numbers = st.floats(-1e6, 1e6, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
matrices = arrays(np.float32, st.tuples(st.integers(1, 8), st.integers(1, 24)), elements=numbers).filter(
    lambda rows: bool((rows != 0).any(axis=1).all())
)


@given(matrices)
def test_unit_rows_times_norms_give_the_rows_back(rows):
    unit, norms = to_unit_rows(rows)
    assert unit.dtype == np.float16
    assert norms.dtype == np.float32
    assert np.allclose(unit.astype(float) * norms[:, None], rows, rtol=2e-3, atol=1e-3 * norms.max())


@given(matrices, st.integers(1, 7))
def test_scores_do_not_depend_on_what_is_scored_together(rows, at):
    unit, _ = to_unit_rows(rows)
    other = unit[::-1]
    whole = cosine_scores(unit, other)
    parts = np.concatenate([cosine_scores(unit[:at], other[:at]), cosine_scores(unit[at:], other[at:])])
    assert whole.tobytes() == parts.tobytes()


@given(matrices)
def test_scores_lie_between_minus_one_and_one_and_a_row_scores_one_with_itself(rows):
    unit, _ = to_unit_rows(rows)
    assert np.array_equal(cosine_scores(unit, unit), np.ones(len(unit)))
    assert np.array_equal(cosine_scores(unit, -unit), -np.ones(len(unit)))
    assert np.abs(cosine_scores(unit, unit[::-1])).max() <= 1


def test_scores_are_rounded_to_four_digits_and_never_minus_zero():
    a = np.array([[1, 0], [1, 0], [1, -1e-6]], np.float32)
    b = np.array([[1, 1], [0, 1], [0, 1]], np.float32)
    scores = cosine_scores(a, b)
    assert scores.tolist() == [0.7071, 0.0, 0.0]
    assert not np.signbit(scores).any()


@pytest.mark.parametrize(
    ("row", "what"),
    [([0.0, 0.0], "only zeros"), ([np.nan, 1.0], "NaN or infinity"), ([np.inf, 1.0], "NaN or infinity")],
)
def test_a_row_without_a_direction_is_refused_and_named(row, what):
    raw = np.array([[1.0, 2.0], row], np.float32)
    with pytest.raises(RowsError, match=f"got {what} at row 1"):
        to_unit_rows(raw)
    with pytest.raises(RowsError, match=f"`b` must .* got {what} at row 1"):
        cosine_scores(np.ones((2, 2), np.float16), raw)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(RowsError, match=r"`raw` must be an array \(n, d\) of floats"):
        to_unit_rows(np.ones(3, np.float32))
    with pytest.raises(RowsError, match="of int64"):
        to_unit_rows(np.ones((3, 2), np.int64))
    with pytest.raises(RowsError, match=r"`b` must have the shape of `a`; got \(2, 3\) and \(3, 3\)"):
        cosine_scores(np.ones((3, 3), np.float16), np.ones((2, 3), np.float16))


def test_no_rows_give_no_rows():
    unit, norms = to_unit_rows(np.empty((0, 5), np.float32))
    assert unit.shape == (0, 5)
    assert norms.shape == (0,)
    assert cosine_scores(unit, unit).shape == (0,)
