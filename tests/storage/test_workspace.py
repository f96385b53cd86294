from pathlib import Path

import pytest

from evenly.storage import code_version as code_module
from evenly.storage.errors import InputError
from evenly.storage.workspace import FOLDER_KINDS, ROOT_VARIABLE, Workspace


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
        monkeypatch.setattr(code_module, "__file__", str(tmp_path / "code_version.py"))
    code = code_module.code_version.__wrapped__()
    assert (code["git_sha"], code["dirty"]) == (None, None)
    assert code["version"]
