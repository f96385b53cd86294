"""Code is read where it is allowed alone: below the folder, outside the workspace, through no link."""

import os

import pytest

from evenly.storage.errors import InputError
from evenly.storage.files.code import CODE_VARIABLE, MAX_BYTES, Code, allowing_code, read_code


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(CODE_VARIABLE, str(tmp_path / "code"))
    (tmp_path / "code" / "inner").mkdir(parents=True)
    for name in ("my_scorers.py", "my_helper.py", "inner/my_scorers.py"):
        (tmp_path / "code" / name).write_text(f"# {name}\n")
    return tmp_path / "code"


def read(path, *imports, workspace=None):
    return read_code("values.mine.python", path, imports, workspace=workspace)


def test_files_below_the_folder_are_read_with_what_they_import(folder):
    assert read(folder / "my_scorers.py", "my_helper.py") == {
        "my_scorers": b"# my_scorers.py\n",
        "my_helper": b"# my_helper.py\n",
    }
    assert read(folder / "inner" / "my_scorers.py") == {"my_scorers": b"# inner/my_scorers.py\n"}


def test_every_byte_is_part_of_the_identity(folder):
    def digest():
        sources = read(folder / "my_scorers.py", "my_helper.py")
        return Code(module="my_scorers", function="score", sources=sources, timeout_s=1.0).digest

    before = digest()
    assert digest() == before
    (folder / "my_helper.py").write_text("# my_helper.pz\n")
    assert digest() != before


def test_nothing_is_read_unless_a_folder_is_allowed(folder, monkeypatch):
    monkeypatch.delenv(CODE_VARIABLE)
    with pytest.raises(InputError, match=r"no folder is allowed\. Start the command with --allow-code"):
        read(folder / "my_scorers.py")
    monkeypatch.chdir(folder.parent)
    with allowing_code(folder.name):  # relative to where the command began, wherever its runs work
        monkeypatch.chdir("/")
        assert read(folder / "my_scorers.py")
    assert CODE_VARIABLE not in os.environ


@pytest.mark.parametrize("of_folder", [True, False])
def test_a_link_is_refused(folder, tmp_path, of_folder):
    other = tmp_path / "other"
    other.mkdir()
    (other / "my_scorers.py").write_text("1 / 0")
    if of_folder:
        (folder / "linked").symlink_to(other)
        path = folder / "linked" / "my_scorers.py"
    else:
        path = folder / "linked.py"
        path.symlink_to(other / "my_scorers.py")
    with pytest.raises(InputError, match="must be a file that is no link"):
        read(path)


@pytest.mark.parametrize("name", ["my_scorers.py", "gone"])
def test_what_is_allowed_is_a_folder(folder, monkeypatch, name):
    monkeypatch.setenv(CODE_VARIABLE, str(folder / name))
    with pytest.raises(InputError, match=r"`--allow-code` must be a folder; got .*, which is none"):
        read(folder / "my_scorers.py")


def test_what_lies_elsewhere_or_in_the_workspace_or_is_no_file_is_refused(folder, tmp_path):
    (tmp_path / "my_scorers.py").write_text("")
    cases = {
        folder / ".." / "my_scorers.py": "must lie in",
        folder / "gone.py": "must be there",
        folder / "my_scorers.txt": "must name files of Python",
        folder / "json.py": "must be there",
    }
    for path, message in cases.items():
        with pytest.raises(InputError, match=message):
            read(path)
    with pytest.raises(InputError, match="must lie outside the workspace"):
        read(folder / "inner" / "my_scorers.py", workspace=folder / "inner")
    os.mkfifo(folder / "pipe.py")
    with pytest.raises(InputError, match="must be a file; got"):
        read(folder / "pipe.py")
    (folder / "my_long.py").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="must have at most"):
        read(folder / "my_long.py")
    (folder / "json.py").write_text("")
    with pytest.raises(InputError, match="must be called as no installed module is"):
        read(folder / "json.py")
