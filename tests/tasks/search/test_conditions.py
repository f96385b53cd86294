import pyarrow as pa
import pytest

from evenly.storage.errors import InputError
from evenly.tasks.search.pairs import Condition, meet

TABLE = pa.table(
    {
        "source": ["a", "b", None, ""],
        "width": [1, 2, None, 10],
        "score": [0.5, 0.25, None, -1.0],
        "is_photo": [True, False, None, True],
        "tags": [["a"], [], None, []],
    }
)


@pytest.mark.parametrize(
    ("texts", "rows"),
    [
        (["source=a"], [0]),
        (["source = b "], [1]),
        (["source=a", "source=b"], [0, 1]),
        (["source="], [2, 3]),
        (["source!="], [0, 1]),
        (["source!=a"], [1, 2, 3]),
        (["source!=a", "source!=b"], [2, 3]),
        (["width=2"], [1]),
        (["width="], [2]),
        (["width>=2"], [1, 3]),
        (["width>1", "width<10"], [1]),
        (["score<=0.25"], [1, 3]),
        (["score=0.5"], [0]),
        (["is_photo=true", "width>1"], [3]),
        (["source=a=b"], []),
        ([], [0, 1, 2, 3]),
    ],
)
def test_rows_meet_conditions(texts, rows):
    mask = meet(TABLE, [Condition.read(text) for text in texts])
    assert [row for row, is_met in enumerate(mask.to_pylist()) if is_met] == rows


@pytest.mark.parametrize("text", ["source", "=a", ">", "", "a<>b=1"])
def test_a_text_that_states_no_condition_is_refused(text):
    if text == "a<>b=1":
        assert Condition.read(text) == Condition("a", "<", ">b=1")
        return
    with pytest.raises(InputError, match="`where` must be a column, one of"):
        Condition.read(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("source>1", "be of a column of numbers"),
        ("width=wide", "have a number"),
        ("width>", "have a number"),
        ("tags=a", "be of a column of texts, numbers, dates or truths"),
    ],
)
def test_a_condition_that_does_not_suit_its_column_is_refused(text, rule):
    with pytest.raises(InputError, match=rule):
        meet(TABLE, [Condition.read(text)])
