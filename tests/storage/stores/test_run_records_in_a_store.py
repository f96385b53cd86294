"""The journal of runs in an object store reads as in a folder."""

from datetime import UTC, datetime, timedelta

from evenly.storage.journals import RunRecord, read_runs, write_run
from evenly.storage.removal.clean import Wanted, clean_workspace
from evenly.storage.workspace import Workspace


def entry(number: int) -> RunRecord:
    time = (datetime(2026, 11, 30, tzinfo=UTC) + timedelta(minutes=number)).isoformat()
    asked = {"asked_again": {"dns": number}, "asked_until": time}
    return RunRecord(
        recipe="birds", run=f"0-1-{number:012x}", started=time, ended=time, outcome="published", build="b", **asked
    )


def test_runs_in_a_store_are_read_in_their_order_and_stay_when_a_workspace_is_cleaned(stored_workspace):
    check(stored_workspace)


def test_runs_in_a_folder_are_read_in_their_order_and_stay_when_a_workspace_is_cleaned(workspace):
    check(workspace)


def check(workspace: Workspace) -> None:
    assert list(read_runs(workspace, "birds")) == []
    for number in (2, 0, 1, 2):
        write_run(workspace, entry(number))
    assert list(read_runs(workspace, "birds")) == [entry(number) for number in (2, 1, 0)]
    assert list(read_runs(workspace, "birds", started_by=entry(1).started)) == [entry(1), entry(0)]
    assert list(read_runs(workspace, "owls")) == []
    contents = clean_workspace(workspace, workspace.exchange, Wanted(older_than_s=0))
    assert contents.leftovers == []
    assert {file.kind for file in contents.files} - {"locks"} == {"journal of runs"}
    assert len(list(read_runs(workspace, "birds"))) == 3
