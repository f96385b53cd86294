import os
from pathlib import Path

import pytest

from evenly.storage import step_records
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.workspace import FOLDER_KINDS, ROOT_VARIABLE, Workspace, adopt_observations


def test_the_root_is_the_one_named_else_the_environments_else_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    assert Workspace.at().root == tmp_path / ".evenly"
    monkeypatch.setenv(ROOT_VARIABLE, "from/environment")
    assert Workspace.at().root == tmp_path / "from" / "environment"
    assert Workspace.at("named").root == Workspace.at(Path("named")).root == tmp_path / "named"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Workspace.at("~/w").root == tmp_path / "home" / "w"


@pytest.mark.parametrize("root", ["s3://bucket/w", "gs://bucket", Path("s3://bucket/w"), "az://container/w"])
def test_a_root_may_be_a_url_and_makes_no_folder(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.at(root)
    assert str(workspace.root) == str(root).replace(":/b", "://b").replace(":/c", "://c")
    assert str(workspace.builds) == f"{workspace.root}/builds"
    assert Workspace.at(str(workspace.root)) == Workspace.at(workspace.root) == workspace
    assert list(tmp_path.iterdir()) == []


def test_a_root_may_be_a_url_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv(ROOT_VARIABLE, f"file://{tmp_path}/w")
    assert Workspace.at().root == tmp_path / "w"


@pytest.mark.parametrize("root", ["http://host/w", "s3://", "s3://key:secret@bucket"])
def test_another_url_is_refused_and_not_made_a_folder(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="`url` must"):
        Workspace.at(root)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a:b", "données 犬", "2026-01-01T00:00", "with space", "s3:", "c:/w"])
def test_other_names_are_folders(name):
    assert Workspace.at(name).root == Path(name).absolute()


def test_every_folder_of_a_workspace_is_another_one():
    folders = [getattr(Workspace.at("w"), name) for name in FOLDER_KINDS]
    assert len(set(folders)) == len(FOLDER_KINDS) >= 14
    assert {folder.parent for folder in folders} == {Workspace.at("w").root}


@pytest.mark.parametrize("reason", ["no git", "no checkout"])
def test_outside_a_checkout_the_version_is_known_and_the_commit_is_not(monkeypatch, tmp_path, reason):
    if reason == "no git":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setattr(step_records, "__file__", str(tmp_path / "step_records.py"))
    code = step_records.code_version.__wrapped__()
    assert (code["git_sha"], code["dirty"]) == (None, None)
    assert code["version"]


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
