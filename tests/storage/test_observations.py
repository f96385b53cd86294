import os

import pytest

from evenly.storage.errors import NotFoundError
from evenly.storage.observations import adopt_observations
from evenly.storage.workspace import Workspace


def workspace_with(folder, files):
    workspace = Workspace.at(folder)
    for name, content in files.items():
        path = workspace.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return workspace


@pytest.mark.parametrize("links", [True, False], ids=["linked", "copied"])
def test_downloads_and_replies_are_taken_once_and_nothing_is_written_over(tmp_path, monkeypatch, links):
    files = {"downloads/a/0.tar": "shard", "downloads/a/.half.tmp": "half", "requests/r.json": "reply", "steps/s": "1"}
    origin = workspace_with(tmp_path / "origin", files)
    workspace = workspace_with(tmp_path / "new", {"requests/r.json": "own reply"})
    if not links:  # another file system
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(18, "Invalid cross-device link")))
    assert adopt_observations(workspace, origin) == 1
    assert adopt_observations(workspace, origin) == 0
    held = {str(path.relative_to(workspace.root)): path for path in workspace.root.rglob("*") if path.is_file()}
    assert {name: path.read_text() for name, path in held.items()} == {
        "downloads/a/0.tar": "shard",
        "requests/r.json": "own reply",
    }
    assert held["downloads/a/0.tar"].samefile(origin.downloads / "a" / "0.tar") == links


def test_a_workspace_without_observations_is_refused(tmp_path):
    origin = workspace_with(tmp_path / "origin", {"steps/s.json": "{}"})
    with pytest.raises(NotFoundError, match=r"`replay_from` must hold recorded downloads or replies; `.*origin` holds"):
        adopt_observations(Workspace.at(tmp_path / "new"), origin)


def test_observations_go_from_a_folder_into_a_store_and_on_to_another(tmp_path, stored_workspace):
    files = {
        "downloads/0.parquet": "records",
        "downloads/0.tar": "shard",
        "downloads/.lock": "",
        "requests/r.json": "r",
    }
    origin = workspace_with(tmp_path / "origin", files)
    assert adopt_observations(stored_workspace, origin) == 3
    assert adopt_observations(stored_workspace, origin) == 0
    back = Workspace.at(tmp_path / "back")
    assert adopt_observations(back, stored_workspace) == 3
    assert (back.downloads / "0.tar").read_text() == "shard"
    assert sorted(path.name for path in back.root.rglob("*.*")) == ["0.parquet", "0.tar", "r.json"]
