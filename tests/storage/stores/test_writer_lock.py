import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from evenly.storage.errors import StoreError, WriterError
from evenly.storage.records import canonical_json
from evenly.storage.stores import writer_lock
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import lock_holder
from evenly.storage.workspace import Workspace, writing
from tests.buckets import KINDS, new_bucket

HOLD = """
import sys
from evenly.storage.workspace import writing
from evenly.storage.workspace import Workspace
with writing(Workspace.at(sys.argv[1]), "birds"):
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


def holder_of(place):
    """Another process that holds the lock of `birds`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_writes(place):
    holder = holder_of(place)
    with (
        pytest.raises(
            WriterError, match=rf"`birds` must be written by one .*; process {holder.pid} on `.+` has .* since 20"
        ),
        writing(place, "birds"),
    ):
        pytest.fail("two writers")
    with writing(place, "bees"):
        pass
    holder.communicate("")
    with writing(place, "birds"):
        pass
    with writing(place, "birds"):
        pass


def test_a_second_writer_that_may_wait_writes_once_the_first_has_ended(place):
    holder, said = holder_of(place), []

    def say(text):
        said.append(text)
        if len(said) == 1:
            holder.communicate("")

    with writing(place, "birds", wait_s=600, say=say):
        assert holder.returncode == 0
    assert re.fullmatch(rf"for `birds`, at most 600 s: process {holder.pid} on `.+` has written it since .+", said[0])
    assert re.fullmatch(r"`birds` is free after \d+ s", said[1])
    assert len(said) == 2


def test_a_second_writer_waits_no_longer_than_it_may(place):
    holder, said = holder_of(place), []
    with (
        pytest.raises(WriterError, match=rf"process {holder.pid} on"),
        writing(place, "birds", wait_s=2, say=said.append),
    ):
        pytest.fail("two writers")
    assert len(said) == 1
    holder.communicate("")


def test_who_waits_takes_over_the_lock_of_a_dead_writer_of_another_machine(stored_workspace, monkeypatch):
    path = of_another_machine(stored_workspace)

    def say(_text):
        monkeypatch.setattr(writer_lock, "TAKEN_OVER_AFTER_S", -1.0)

    with writing(stored_workspace, "birds", wait_s=600, say=say):
        assert f'"pid":{os.getpid()}'.encode() in path.read_bytes()


def test_the_lock_of_a_killed_writer_of_this_machine_is_free_at_once(place):
    holder = holder_of(place)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with writing(place, "birds"):
        pass
    holder.communicate()


def test_of_many_writers_one_writes_at_a_time(place):
    held = []

    def write(_number):
        with lock_holder(place.locks / "birds.json") as holder:
            if holder is None:
                held.append(1)
                assert len(held) == 1
                held.pop()
        return holder is None

    with ThreadPoolExecutor(8) as pool:
        assert any(pool.map(write, range(40)))


def of_another_machine(place, **facts):
    path = place.locks / "birds.json"
    assert path.create(
        canonical_json({"host": "far", "pid": 7, "since": "2026", "machine": "m", "started": "1", **facts})
    )
    return path


def test_a_lock_of_another_machine_is_taken_over_after_its_time_alone(stored_workspace, monkeypatch):
    path = of_another_machine(stored_workspace)
    with (
        pytest.raises(WriterError, match=r"process 7 on `far` .* 60 s it is taken over"),
        writing(stored_workspace, "birds"),
    ):
        pytest.fail("two writers")
    monkeypatch.setattr(writer_lock, "TAKEN_OVER_AFTER_S", -1.0)
    with writing(stored_workspace, "birds"):
        assert f'"pid":{os.getpid()}'.encode() in path.read_bytes()
    assert list(stored_workspace.root.objects()) == []


def test_of_many_who_take_a_lock_over_one_gets_it(stored_workspace, monkeypatch):
    of_another_machine(stored_workspace)
    monkeypatch.setattr(writer_lock, "TAKEN_OVER_AFTER_S", 3600.0)
    path = stored_workspace.locks / "birds.json"
    version = path.read_version()
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: path.replace_version(version, b"%d" % number), range(16)))
    assert sum(won) == 1
    assert path.read_bytes() == b"%d" % won.index(True)


def test_a_writer_renews_its_lock_until_it_is_anothers(stored_workspace, monkeypatch):
    monkeypatch.setattr(writer_lock, "HEARTBEAT_S", 0.01)
    path = stored_workspace.locks / "birds.json"
    with writing(stored_workspace, "birds"):
        while b'"beats":3' not in path.read_bytes():
            pass
        path.write_bytes(b'{"token":"another"}')
    assert path.read_bytes() == b'{"token":"another"}'


def test_a_lock_that_the_store_would_not_let_go_of_is_free_to_its_own_process(stored_workspace, monkeypatch):
    path = stored_workspace.locks / "birds.json"
    with monkeypatch.context() as patch, writing(stored_workspace, "birds"):
        with pytest.raises(WriterError, match=f"process {os.getpid()} on"), writing(stored_workspace, "birds"):
            pytest.fail("two writers")
        patch.setattr(ObjectPath, "unlink", raise_store_error)
    assert path.is_file()
    with writing(stored_workspace, "birds"):
        pass
    assert not path.exists()


def raise_store_error(*_arguments, **_options):
    raise StoreError("it does not answer")


def test_a_lock_that_is_damaged_is_held_by_nobody_known(stored_workspace):
    (stored_workspace.locks / "birds.json").write_bytes(b"{")
    with pytest.raises(WriterError, match="a process that its lock does not name"), writing(stored_workspace, "birds"):
        pytest.fail("two writers")


def test_a_folder_that_cannot_be_written_to_needs_no_lock(tmp_path):
    (tmp_path / "file").touch()
    with writing(Workspace.at(tmp_path / "file"), "birds"):
        pass


def test_a_lock_whose_file_its_holder_has_just_removed_is_taken_from_who_comes_next(tmp_path, monkeypatch):
    path, take = tmp_path / "parts" / "held.lock", writer_lock._take_file
    with lock_holder(path) as nobody, ExitStack() as others:
        assert nobody is None

        def removed_meanwhile(_descriptor):
            monkeypatch.setattr(writer_lock, "_take_file", take)
            path.unlink()
            path.parent.rmdir()
            others.enter_context(lock_holder(path))
            return True

        monkeypatch.setattr(writer_lock, "_take_file", removed_meanwhile)
        with lock_holder(path) as holder:
            assert holder["pid"] == os.getpid()
