import numpy as np
import pyarrow as pa
import pytest

from evenly.curation.duplicates.lsh import _interval, measure_recall

UIDS = pa.array([f"{i:03}" for i in range(100)])


def neighbours(drawn, others):
    """Rows 2 k and 2 k + 1 are duplicates."""
    pairs = {(row // 2 * 2, row // 2 * 2 + 1) for row in drawn.tolist()}
    left, right = zip(*(pair for pair in pairs if set(pair) <= set(others.tolist())), strict=True)
    return np.array(left), np.array(right)


def measured(found, *, comparisons=10**6):
    edges = np.array([2 * k for k in found], np.int64), np.array([2 * k + 1 for k in found], np.int64)
    return measure_recall(UIDS, np.arange(100), edges, neighbours, seed=1, step="x", comparisons=comparisons)


def test_recall_is_the_share_of_twins_that_ended_in_one_component():
    notes = measured(range(40)).notes
    assert notes["recall"] == 0.8
    assert notes["recall_sample"] == {"rows": 100, "twins": 50, "found": 40, "interval": [0.6696, 0.8876]}


def test_each_drawn_row_is_told_with_its_twins_and_whether_they_were_found():
    table = measured(range(2), comparisons=700).compared
    assert table["uid"].to_pylist() == sorted(table["uid"].to_pylist())
    drawn = set(table["uid"].to_pylist())
    assert len(drawn) == 7
    for row in table.to_pylist():
        assert {int(row["uid"]), int(row["twin"])} == {int(row["uid"]) // 2 * 2, int(row["uid"]) // 2 * 2 + 1}
        assert row["found"] == (int(row["uid"]) < 4)


def test_few_comparisons_draw_few_rows():
    assert measured(range(50), comparisons=700).notes["recall_sample"]["rows"] == 7


def test_a_sample_without_twins_measures_nothing():
    none = np.empty(0, np.int64), np.empty(0, np.int64)
    found = measure_recall(UIDS, np.arange(100), none, lambda *_: none, seed=1, step="x", comparisons=10**6)
    notes = found.notes
    assert found.compared["uid"].equals(pa.chunked_array([UIDS]))
    assert found.compared["twin"].null_count == found.compared["found"].null_count == 100
    assert notes["recall"] is None
    assert notes["recall_sample"]["interval"] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("found", "of", "interval"), [(0, 10, [0.0, 0.2775]), (10, 10, [0.7225, 1.0]), (5, 10, [0.2366, 0.7634])]
)
def test_wilsons_interval_of_tables(found, of, interval):
    assert _interval(found, of) == interval
