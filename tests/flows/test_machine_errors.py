"""Errors of the machine are one line, with the remedy of the path that they are about."""

import errno
import os
import resource
from pathlib import Path

import pytest

from evenly.flows.cli.errors import machine_line
from evenly.storage.records import replacing


def full(path: object) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/disk/out/pairs.npz", "--out"),
        ("/disk/out/.pairs.npz.abc.tmp", "--out"),
        ("/work/w/steps/a.json", "--root"),
        ("/cache/evenly/models", "EVENLY_CACHE"),
        ("/scratch/tmpabc/file", "TMPDIR"),
        ("/else/where", "place for it"),
        (None, "place (--root, --out, TMPDIR)"),
    ],
)
def test_a_full_disk_names_what_says_where_the_path_lies(monkeypatch, path, place):
    monkeypatch.setenv("EVENLY_CACHE", "/cache/evenly")
    monkeypatch.setattr("tempfile.tempdir", "/scratch")
    arguments = ["extract", "r.yaml", "--out=/disk/out/pairs.npz", "--root", "/work/w", "--json"]
    error = full(path) if path else OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    line = machine_line(error, arguments)
    assert line.endswith(f"free space or choose another {place}.")
    assert "\n" not in line


def test_a_workspace_in_the_current_folder_is_chosen_by_root(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "another --root" in machine_line(full(tmp_path / ".evenly" / "steps" / "a"), ["rebuild", "r.yaml"])


def test_what_is_written_is_named_where_the_disk_does_not_say_so(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        with pytest.raises(OSError, match="too large") as raised, replacing(tmp_path / "pairs.npz") as stream:
            stream.write(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Path(raised.value.filename) == tmp_path / "pairs.npz"
    assert "choose another --out" in machine_line(raised.value, ["encode", "--out", str(tmp_path / "pairs.npz")])


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG])
def test_a_path_that_cannot_be_is_one_line(number):
    line = machine_line(OSError(number, os.strerror(number), "x" * 300), [])
    assert len(line) < 400
    assert os.strerror(number) in line


def test_what_is_about_no_path_is_a_fault_of_the_program():
    assert machine_line(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), []) is None
