"""Each rebuild leaves an entry in the journal, whatever it came to; and a latest build that is too old is told once."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evenly.audit.verify import verify_build
from evenly.flows.audit_builds import audit_builds
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.storage.builds import Builds
from evenly.storage.journals import RunRecord, read_runs, write_run
from evenly.storage.records import CHECKSUM
from evenly.storage.workspace import Workspace
from evenly.tasks.server.journal import stale_builds


def runs(root: Path) -> list[RunRecord]:
    """The journal, oldest first."""
    return list(read_runs(Workspace.at(root), "tiny_words"))[::-1]


@pytest.mark.usefixtures("prefect_server")
def test_every_end_of_a_rebuild_is_in_the_journal(recipe, tmp_path, monkeypatch):
    root = tmp_path / "w"
    schedule = {"cron": "0 3 * * 1", "max_age": "8d"}
    path = recipe(1, schedule=schedule, notify={"blocks": ["slack-webhook/team"]})
    first = rebuild_dataset(recipe=path, root=str(root), quiet=True)
    (entry,) = runs(root)
    assert (entry.outcome, entry.build, entry.previous, entry.rows, entry.kept) == ("published", first, None, 40, 40)
    assert (entry.entered, entry.left, entry.error, entry.due) == (None, None, None, None)
    assert (entry.max_age, entry.blocks, entry.asked_again) == ("8d", ("slack-webhook/team",), {})
    started = datetime.fromisoformat(entry.started)
    assert datetime.fromisoformat(entry.asked_until) == started - timedelta(days=7)
    assert started <= datetime.fromisoformat(entry.ended)

    rebuild_dataset(recipe=path, root=str(root), quiet=True)
    assert (runs(root)[-1].outcome, runs(root)[-1].entered, runs(root)[-1].left) == ("unchanged", 0, 0)
    for _ in range(2):
        rebuild_dataset(recipe=recipe(4), root=str(root), quiet=True, return_state=True)
        entry = runs(root)[-1]
        assert (entry.outcome, entry.kept, entry.previous, entry.entered, entry.left) == ("held", 20, first, 0, 20)
        assert entry.build != first
        monkeypatch.setattr("evenly.tasks.server.builds.count_moves", None)  # the same pairs are not counted again
    rebuild_dataset(recipe=recipe(1), root=str(root), limit=10, quiet=True)
    assert runs(root)[-1].outcome == "built"
    with pytest.raises(RuntimeError):
        rebuild_dataset(recipe=recipe(50), root=str(root), quiet=True)
    assert runs(root)[-1].outcome == "failed"
    assert runs(root)[-1].error.startswith("NothingLeftError: step `check_texts` must keep at least one pair")
    with pytest.raises(ValueError, match="seeds"):
        rebuild_dataset(recipe=recipe(1, seeds=3), root=str(root), quiet=True)
    assert "`seeds` must be a known field" in runs(root)[-1].error
    assert len(runs(root)) == 7


@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_is_interrupted_has_begun_until_another_does(recipe, tmp_path, monkeypatch):
    root = tmp_path / "w"
    with monkeypatch.context() as patch:
        patch.setattr("evenly.flows.rebuild_dataset.show_build", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rebuild_dataset(recipe=recipe(1), root=str(root), quiet=True)
    (entry,) = runs(root)
    assert (entry.outcome, entry.ended, entry.error) == ("begun", entry.started, None)
    build = rebuild_dataset(recipe=recipe(1), root=str(root), quiet=True)
    assert [(entry.outcome, entry.build) for entry in runs(root)] == [("interrupted", None), ("unchanged", build)]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("prefect_server")
def test_damage_in_the_journal_is_seen_and_without_it_a_build_is_the_same(recipe, tmp_path):
    root = tmp_path / "w"
    build = rebuild_dataset(recipe=recipe(1), root=str(root), quiet=True)
    workspace, manifest = Workspace.at(root), Builds(Workspace.at(root)).read(build)
    assert verify_build(workspace, manifest) == []
    (path,) = (root / "runs" / "tiny_words").glob("*.json")
    path.write_text(path.read_text().replace('"published"', '"unpublished"'))
    (finding,) = verify_build(workspace, manifest)
    assert "runs/tiny_words/" in str(finding)
    shutil.rmtree(root / "runs")
    assert rebuild_dataset(recipe=recipe(1), root=str(root), quiet=True) == build
    assert verify_build(workspace, manifest) == []


@pytest.mark.usefixtures("prefect_server")
def test_a_stale_build_is_told_of_once(recipe, tmp_path):
    root = tmp_path / "w"
    workspace = Workspace.at(root)
    build = rebuild_dataset(
        recipe=recipe(1, schedule={"cron": "0 3 * * 1", "max_age": "8d"}), root=str(root), quiet=True
    )
    looked = datetime.now(UTC)
    assert list(stale_builds(workspace, looked + timedelta(days=7))) == []
    (stale,) = stale_builds(workspace, looked + timedelta(days=9))
    assert (stale.build, stale.newest.outcome) == (build, "published")
    assert f"stale: {build}, with which no rebuild has ended since" in stale.text
    later = (looked + timedelta(days=5)).isoformat()
    entry = {"recipe": "tiny_words", "run": "a-b", "started": later, "ended": later, "build": build, "max_age": "8d"}
    write_run(workspace, RunRecord(outcome="unchanged", **entry))
    assert list(stale_builds(workspace, looked + timedelta(days=9))) == []
    broken = {"recipe": "tiny_words", "run": "a-c", "started": later, "ended": later, "error": "RecipeError: no"}
    write_run(workspace, RunRecord(outcome="failed", **broken))
    (stale,) = stale_builds(workspace, looked + timedelta(days=14))
    assert stale.text.endswith("UTC: RecipeError: no")
    assert "older than" not in audit_builds(root=str(root), return_state=True).message


@pytest.mark.usefixtures("prefect_server")
def test_the_audit_says_which_builds_are_stale_and_marks_them(recipe, tmp_path):
    root = tmp_path / "w"
    fields = {"schedule": {"cron": "0 3 * * 1", "max_age": "0m"}}
    build = rebuild_dataset(recipe=recipe(1, **fields), root=str(root), quiet=True)
    for _ in range(2):
        assert audit_builds(root=str(root), return_state=True).message.endswith(f"; older than max_age: {build}")
    (mark,) = (root / "runs" / "tiny_words" / "stale").iterdir()
    assert mark.name == f"{build}.json"
    assert CHECKSUM in mark.read_text()
    assert len(runs(root)) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "\x00"])
def test_a_name_that_cannot_be_that_of_a_folder_has_no_journal(workspace, name):
    now = datetime.now(UTC).isoformat()
    write_run(workspace, RunRecord(recipe=name, run="x", started=now, ended=now, outcome="failed", error="e"))
    assert list(read_runs(workspace, name)) == []
    assert not workspace.root.exists()
