import numpy as np
import pytest

from evenly.descriptions.chat.client import ClientCounts
from evenly.descriptions.descriptions import SCHEMA, Descriptions, table_of


def row(name, text, verdict="accepted", reason=""):
    columns = {"class": name, "method": "synonyms", "text": text, "phrase": text, "request_id": None, "sample": None}
    return columns | {"synset": None, "verdict": verdict, "reason": reason}


@pytest.fixture
def found() -> Descriptions:
    rows = [row("b", "b1"), row("b", "", "failed", "http_500"), row("a", "a1"), row("a", "a2", "rejected", "repeats")]
    return Descriptions(
        class_list="ab",
        class_list_identity="0",
        classes=("b", "a"),
        methods=("synonyms",),
        table=table_of(rows),
        ungrounded=(),
        counts=ClientCounts(),
    )


def test_rejecting_later_changes_accepted_rows_only(found):
    judged = found.reject(np.array([True, True, False, True]), "nearer_to_another_class")
    assert judged.table.schema == SCHEMA
    assert judged.table["verdict"].to_pylist() == ["rejected", "failed", "accepted", "rejected"]
    assert judged.table["reason"].to_pylist() == ["nearer_to_another_class", "http_500", "", "repeats"]
    assert [gap.class_name for gap in judged.undescribed] == ["b"]
    assert found.undescribed == ()


def test_texts_are_in_class_order(found):
    assert list(found.texts("synonyms").items()) == [("b", ["b1"]), ("a", ["a1"])]
    assert found.texts("prompts") == {"b": [], "a": []}


def test_the_summary_counts_each_reason(found):
    summary = found.summary()
    assert (summary["accepted"], summary["rejected"], summary["failed"]) == (2, {"repeats": 1}, {"http_500": 1})
