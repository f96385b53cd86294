import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.curation.decisions import Decisions, first_of
from evenly.curation.errors import ColumnsError
from evenly.storage.ledger import VERDICTS

ROW = st.sampled_from([("", None, False), ("low_score", None, False), ("dns", None, True), ("same_url", "ff", False)])


def decisions_of(rows):
    return Decisions.of(
        reason=[row[0] for row in rows],
        value=list(range(len(rows))),
        into=[row[1] for row in rows],
        failed=[row[2] for row in rows],
    )


def test_each_kind_of_row_has_its_verdict():
    rows = [("", None, False), ("low_score", None, False), ("dns", None, True), ("same_url", "ff", False)]
    assert decisions_of(rows).verdict.to_pylist() == ["kept", "dropped", "failed", "merged"]


@given(st.lists(ROW, max_size=20))
def test_every_row_ends_as_exactly_one_verdict(rows):
    verdict = decisions_of(rows).verdict.to_pylist()
    assert len(verdict) == len(rows)
    assert set(verdict) <= set(VERDICTS)


def test_keep_all_keeps_all_without_value():
    table = Decisions.keep_all(2).to_table(pa.array(["a", "b"]))
    assert table.column_names == ["uid", "verdict", "reason", "value", "into"]
    assert table["verdict"].to_pylist() == ["kept", "kept"]
    assert table["value"].to_pylist() == [None, None]


def test_numpy_and_chunked_columns_are_taken():
    reason = pa.chunked_array([["", "aspect"], [""]])
    decisions = Decisions.of(reason=reason, value=np.array([1.0, 2.0, 3.0], dtype=np.float32))
    assert decisions.value.to_pylist() == [1.0, 2.0, 3.0]
    assert decisions.verdict.to_pylist() == ["kept", "dropped", "kept"]


def test_first_that_does_not_keep_decides_the_whole_row():
    first = Decisions.of(reason=["", "too_few_words", ""], value=[5, 1, 4])
    second = Decisions.of(reason=["boilerplate", "boilerplate", ""], value=[1, 1, 0])
    both = first_of(first, second)
    assert both.reason.to_pylist() == ["boilerplate", "too_few_words", ""]
    assert both.value.to_pylist() == [1, 1, None]


def test_first_of_one_is_that_one():
    only = Decisions.of(reason=["", "aspect"], value=[1.5, 9.0])
    assert first_of(only) is only


@given(st.lists(st.tuples(ROW, ROW, ROW), max_size=12))
def test_first_of_is_associative_in_verdicts(rows):
    a, b, c = (decisions_of([row[i] for row in rows]) for i in range(3))
    assert first_of(a, b, c).verdict.equals(first_of(first_of(a, b), c).verdict)
    assert first_of(a, b, c).reason.equals(first_of(a, first_of(b, c)).reason)


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"reason": [None]}, "nulls"),
        ({"reason": [""], "into": ["ff"]}, "must give a reason"),
        ({"reason": [""], "failed": [True]}, "must give a reason"),
        ({"reason": ["dns"], "failed": [True], "into": ["ff"]}, "both failed and merged"),
        ({"reason": ["dns"], "value": [1.0, 2.0]}, "array of 1 double; got 2 double"),
    ],
)
def test_contradictory_decisions_are_refused(columns, rule):
    with pytest.raises(ColumnsError, match=rule):
        Decisions.of(**columns)


def test_uids_of_other_rows_are_refused():
    with pytest.raises(ColumnsError, match="each of the 2 rows; got 1"):
        Decisions.keep_all(2).to_table(pa.array(["a"]))


def test_decisions_on_other_rows_are_not_combined():
    with pytest.raises(ColumnsError, match=r"same rows; got lengths \[1, 2\]"):
        first_of(Decisions.keep_all(1), Decisions.keep_all(2))
