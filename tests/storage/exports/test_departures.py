"""Receipts of exports and reports: one for each content at each place, in a folder and in an object store."""

import pytest

from evenly.storage.errors import DamagedError
from evenly.storage.journals import departures, record_departure
from evenly.storage.records import create_record
from evenly.storage.removal.clean import Wanted, clean_workspace
from evenly.storage.workspace import Workspace

FACTS = {"kind": "parquet", "build": "birds-1", "content": "a" * 64, "files": 2}


def test_receipts_say_what_was_written_where_once_and_stay_when_a_workspace_is_cleaned(workspace, tmp_path):
    check(workspace, tmp_path)


def test_receipts_in_a_store_do(stored_workspace, tmp_path):
    check(stored_workspace, tmp_path)


def check(workspace: Workspace, elsewhere) -> None:
    assert departures(workspace) == []
    inside = workspace.exports / "birds-1" / "parquet"
    for place in (inside, elsewhere / "out", inside):
        record_departure(workspace, place=place, **FACTS)
    record_departure(workspace, place=inside, **FACTS | {"content": "b" * 64})
    receipts = departures(workspace)
    assert {(receipt.place, receipt.content[0]) for receipt in receipts} == {
        ("exports/birds-1/parquet", "a"),
        ("exports/birds-1/parquet", "b"),
        (str(elsewhere / "out"), "a"),
    }
    assert {(receipt.kind, receipt.build, receipt.files) for receipt in receipts} == {("parquet", "birds-1", 2)}
    assert len({receipt.id for receipt in receipts}) == 3
    contents = clean_workspace(workspace, workspace.exchange, Wanted(older_than_s=0))
    assert contents.leftovers == []
    assert {file.kind for file in contents.files} - {"locks"} == {"receipts of exports and reports"}
    assert departures(workspace) == receipts


def test_a_record_that_is_no_receipt_is_named(workspace):
    create_record(workspace.departures / "x.json", {"kind": "report"})
    with pytest.raises(DamagedError, match=r"x\.json` must be a receipt"):
        departures(workspace)
