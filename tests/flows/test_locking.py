"""Which commands share a workspace: each that writes, and they do while they work."""

import pytest

from evenly.flows.cli import app
from evenly.flows.cli.command import READS, WRITES
from evenly.storage import records
from evenly.storage.builds import Builds
from evenly.storage.stores.writer_lock import holder_of
from tests.labelled_build import WordEncoder
from tests.searched_build import Pair, publish
from tests.storage.stores.test_workspace_lock import other


def names_of(group, prefix=""):
    for command in group.registered_commands:
        yield f"{prefix}{command.name}"
    for one in group.registered_groups:
        yield from names_of(one.typer_instance, f"{one.name} ")


def test_every_command_is_said_to_write_or_to_read():
    groups = {"batches", "encoders"}  # which are commands themselves
    assert {*names_of(app), *groups} == WRITES.keys() | READS
    assert not WRITES.keys() & READS


@pytest.fixture
def build(workspace, monkeypatch):
    """A workspace with a build, in which every file that is written without sharing it fails the test."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    manifest = publish(workspace, [Pair(f"red {number}", f"red {number}") for number in range(300)])
    records.replace_record(
        workspace.builds / "some-1.json", {**manifest, "created": "2026", "limit": None, "steps": []}
    )
    Builds(workspace).promote("some-1", recipe="some")
    temporary_file = records.temporary_file

    def checked(path):
        if workspace.root in path.parents:
            written.append(path)
            assert any(map(holder_of, workspace.locks.iterdir())), path
        return temporary_file(path)

    written = []
    monkeypatch.setattr(records, "temporary_file", checked)
    return workspace, written


COMMANDS = {
    "index latest --kind binary": True,
    "promote latest": True,
    "builds": False,
    "doctor": False,
    "clean": False,
    "encoders": False,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_writes_it_writes_while_it_shares_the_workspace(evenly, build, command):
    workspace, written = build
    evenly(*command.split(), "--root", workspace.root)
    assert bool(written) >= COMMANDS[command]


def test_who_writes_is_refused_in_a_line_while_something_is_removed_and_who_reads_is_not(evenly, build):
    workspace, _ = build
    cleaner = other(workspace, "exclusive_use")
    status, _, err = evenly("promote", "latest", "--root", workspace.root)
    assert (status, len(err.splitlines())) == (1, 1)
    assert f"must not be written while something is removed; process {cleaner.pid} on" in err
    assert evenly("builds", "--root", workspace.root)[0] == 0
    cleaner.communicate("")
    assert evenly("promote", "latest", "--root", workspace.root)[0] == 0


def test_cleaning_beside_a_writer_is_refused_in_a_line_or_waits(evenly, build):
    workspace, _ = build
    writer = other(workspace, "shared_use")
    status, _, err = evenly("clean", "--yes", "--root", workspace.root)
    assert (status, len(err.splitlines())) == (1, 1)
    assert f"must not be cleaned while a command writes in it; process {writer.pid} on" in err
    assert evenly("clean", "--root", workspace.root)[0] == 0
    writer.communicate("")
    assert evenly("clean", "--yes", "--wait", "30", "--root", workspace.root)[0] == 0


def test_a_command_without_a_workspace_makes_none(evenly, tmp_path):
    evenly("index", "latest", "--root", tmp_path / "none")
    assert not (tmp_path / "none").exists()
