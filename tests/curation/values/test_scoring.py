"""A row's score depends on the row alone, and a scorer that fails on too many rows ends the run."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.errors import RuleError
from evenly.curation.values import scoring
from evenly.curation.values.rule import NamedScorer
from evenly.curation.values.scoring import ScoringError, checked, decide, scored

SCORER = NamedScorer(name="mine", function="score", reads=("n",))


def rows(*numbers):
    return pa.table({"n": pa.array(numbers, pa.int64())})


def without_sevens(batch):
    if 7 in batch["n"].to_pylist():
        raise ScoringError("no sevens")
    return pa.array([float(n) for n in batch["n"].to_pylist()])


@given(numbers=st.lists(st.integers(0, 60), max_size=90), batch_rows=st.integers(1, 40))
def test_a_row_that_cannot_be_scored_takes_no_other_with_it(numbers, batch_rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "BATCH_ROWS", batch_rows)
        patch.setattr(scoring, "MOST_FAILED", 1.0)
        values, messages = scored(rows(*numbers), SCORER, without_sevens)
    assert values.to_pylist() == [None if n == 7 else float(n) for n in numbers]
    assert messages.to_pylist() == ["no sevens" if n == 7 else None for n in numbers]
    decisions = decide([("mine", messages)], len(numbers))
    assert decisions.reason.to_pylist() == ["scorer_error" if n == 7 else "" for n in numbers]


def test_a_scorer_that_fails_on_a_fifth_ends_the_run():
    with pytest.raises(RuleError, match=r"`values.mine.python` must score at least 80% of rows; .*no sevens"):
        scored(rows(*[7, 1] * 30), SCORER, without_sevens)


def test_a_scorer_without_an_answer_is_asked_three_times_and_not_in_halves():
    asked = []

    def silent(batch):
        asked.append(batch.num_rows)
        raise ScoringError("no answer within 2 s", silent=True)

    with pytest.raises(RuleError, match="no answer within 2 s"):
        scored(rows(*range(5000)), SCORER, silent)
    assert asked == [256, 256, 256]


def test_another_number_of_values_ends_the_run():
    with pytest.raises(RuleError, match="must give a value for each row; it gave 1 for 2"):
        checked(pa.array([1.0]), 2, SCORER)


@pytest.mark.parametrize(
    ("values", "is_text", "expected"),
    [
        (pa.array([1, 2]), False, [1.0, 2.0]),
        (pa.array([True, None]), False, [1.0, None]),
        (pa.array(["a", None]), True, ["a", None]),
        (pa.nulls(2), True, [None, None]),
        (pa.array(["1", "2"]), False, None),
        (pa.array([1, 2]), True, None),
        (pa.array([[1.0], [2.0]]), False, None),
    ],
)
def test_values_are_numbers_or_texts(values, is_text, expected):
    scorer = NamedScorer(name="mine", function="score", reads=("n",), is_text=is_text)
    if expected is None:
        with pytest.raises(ScoringError, match="must give"):
            checked(values, 2, scorer)
    else:
        assert checked(values, 2, scorer).to_pylist() == expected
