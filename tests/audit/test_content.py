from datetime import UTC, datetime

import pyarrow as pa
import pytest

from evenly.storage.tables.hashing import LEFT_OUT, LEFT_OUT_ENDINGS, content_table, table_hash
from evenly.storage.workspace import Workspace

ROWS = pa.table({"uid": ["b", "a", "a"], "entry": ["x", "z", "y"], "p": [0.1, 0.2, 0.3]})


def hashed(table):
    return table_hash(content_table(table))


def test_the_order_of_rows_with_a_uid_is_no_content():
    assert hashed(ROWS) == hashed(ROWS.take([2, 0, 1]))
    assert content_table(ROWS)["entry"].to_pylist() == ["y", "z", "x"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], [2], [1, 2]]),
        pa.array([{"a": [1]}, None, {"a": [2]}]),
        pa.array([[("a", 1)], [("b", 1)], []], pa.map_(pa.string(), pa.int8())),
        pa.array([0.5, 1.5, None], pa.float16()),
        pa.array(["x", "y", "z"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_rows_of_one_uid_that_differ_in_one_column_alone_have_one_order(column):
    orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    tables = [
        pa.table({"uid": ["a"] * 3, "x": pa.array([column[at].as_py() for at in order], column.type), "p": [0.1] * 3})
        for order in orders
    ]
    assert len({hashed(table) for table in tables}) == 1


def test_the_order_of_a_list_without_uids_is_content():
    concepts = pa.table({"entry": ["cat", "fox"]})
    assert hashed(concepts) != hashed(concepts.take([1, 0]))


@pytest.mark.parametrize("name", [*LEFT_OUT, *(f"align{ending}" for ending in LEFT_OUT_ENDINGS)])
def test_a_column_that_is_left_out_changes_nothing(name):
    assert hashed(ROWS.append_column(name, pa.array(["1", "2", "3"]))) == hashed(ROWS)


def test_every_other_column_counts():
    assert hashed(ROWS.append_column("width", pa.array([1, 2, 3]))) != hashed(ROWS)


def test_the_same_rebuild_elsewhere_and_later_has_the_same_content_hash(build, published, tmp_path):
    again = build(started=datetime(2027, 1, 1, tzinfo=UTC))
    assert again["content_hash"] == published[1]["content_hash"]
    assert again["build"] == published[1]["build"]
    assert Workspace.at(tmp_path / "workspace").root != published[0].root


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"keep_top": 0.5},
        {"versions": {"align": 2}},
        {"encoder": "encoder-b"},
        {"off": ("deduplicate_perceptual",)},
        {"min_words": 1},
    ],
    ids=["seed", "rule", "step version", "model", "step off", "rule without effect on the rest"],
)
def test_whatever_makes_a_build_changes_its_content_hash(shared_build, change):
    assert shared_build()["content_hash"] != shared_build(**change)["content_hash"]


def test_rows_of_the_pool_in_another_order_are_the_same_content(shared_build, little):
    assert shared_build()["content_hash"] == shared_build(pool=little.pool[::-1])["content_hash"]
