"""Shared and exclusive use of a workspace, in a folder and in a store of each kind, by processes that may be killed."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from evenly.storage.errors import WriterError
from evenly.storage.stores.writer_lock import holder_of
from evenly.storage.workspace import CLEANING, Workspace, exclusive_use, shared_use, writing
from tests.buckets import KINDS, new_bucket

HOLD = """
import sys
from evenly.storage import workspace
from evenly.storage.workspace import Workspace
with getattr(workspace, sys.argv[2])(Workspace.at(sys.argv[1]), "refine mine"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["folder", *KINDS])
def place(request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """A workspace in a folder, and one in a store of each kind."""
    if request.param == "folder":
        yield request.getfixturevalue("workspace")
        return
    with new_bucket(request.param, request) as url:
        yield Workspace.at(f"{url}/team/workspace")


def other(place, use):
    """Another process that uses the workspace."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place.root), use], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_many_write_and_who_removes_is_alone_and_told_who_writes(place):
    first, second = other(place, "shared_use"), other(place, "shared_use")
    with shared_use(place, "fit"):
        pass
    message = rf"must not be cleaned while .*; process {first.pid} on `.+`, refine mine, has .* since 20.*wait for it"
    with pytest.raises(WriterError, match=message), exclusive_use(place, "clean"):
        pytest.fail("removed beside a writer")
    first.communicate("")
    with pytest.raises(WriterError, match=f"process {second.pid}"), exclusive_use(place, "clean"):
        pytest.fail("removed beside a writer")
    second.communicate("")
    with exclusive_use(place, "clean"):
        assert holder_of(place.locks / CLEANING) is not None
    assert holder_of(place.locks / CLEANING) is None


def test_nobody_begins_to_write_while_something_is_removed(place):
    cleaner = other(place, "exclusive_use")
    for use in (shared_use, writing):
        with pytest.raises(WriterError, match=f"while something is removed; process {cleaner.pid} "), use(place, "fit"):
            pytest.fail("written while something is removed")
    with pytest.raises(WriterError, match=f"by two at a time; process {cleaner.pid} "), exclusive_use(place, "clean"):
        pytest.fail("two remove at once")
    cleaner.communicate("")
    with writing(place, "fit"):
        pass


@pytest.mark.parametrize("use", ["shared_use", "exclusive_use"])
def test_killed_processes_are_in_nobodys_way(place, use):
    killed = other(place, use)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with exclusive_use(place, "clean"):
        pass
    with shared_use(place, "fit"):
        pass
    killed.communicate()


@pytest.mark.parametrize("uses", [("shared_use", exclusive_use), ("exclusive_use", shared_use)])
def test_who_may_wait_goes_on_once_the_other_has_ended(workspace, uses):
    holder, said = other(workspace, uses[0]), []
    threading.Timer(1.0, lambda: holder.communicate("")).start()
    with uses[1](workspace, "clean", wait_s=60, say=said.append):
        assert holder.wait(10) == 0
    assert said[0].startswith(f"for the workspace, at most 60 s: process {holder.pid} on")
    assert len(said) == 2


def test_a_process_that_writes_may_enter_again_and_ends_with_the_last(workspace):
    with shared_use(workspace, "rebuild"):
        with shared_use(workspace, "fit"):
            pass
        with pytest.raises(WriterError), exclusive_use(workspace, "clean"):
            pytest.fail("removed beside a writer")
    with exclusive_use(workspace, "clean"):
        pass
