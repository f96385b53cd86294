"""Stores that do what is asked and whose answer is lost: what was created is then known as one's own."""

import os
from collections import Counter

import pytest

from evenly.storage.chat.spending import lines_at
from evenly.storage.records import create_record, read_record
from evenly.storage.stores.object_path import path_at
from evenly.storage.web.shards import publish_shard, tar_name
from evenly.storage.workspace import Workspace, writing
from tests.chaos.faults.stores import LOST
from tests.chaos.store import StoreRelay, Trouble
from tests.object_store_server import make_bucket, reaching


@pytest.fixture(params=LOST, ids=["reset", "503"])
def place(request, s3_server):
    """A folder in a store which does the first of all equal requests to write, but does not say so."""
    met = Counter()

    def trouble(method, path):
        met[method, path] += 1
        return request.param if method in ("PUT", "POST", "DELETE") and met[method, path] == 1 else None

    relay = StoreRelay(s3_server)
    relay.come()
    name = f"lost-{abs(hash(request.node.nodeid)):x}"
    make_bucket(s3_server, name)
    with reaching(relay.address):
        relay.trouble = trouble
        yield path_at(f"s3://{name}/w")
    assert relay.troubled
    relay.go()


def test_what_was_created_without_an_answer_is_ones_own(place):
    assert (place / "a").create(b"mine")
    assert not (place / "a").create(b"mine")
    assert not (place / "a").create(b"another's")
    assert (place / "a").read_bytes() == b"mine"
    version = (place / "a").read_version()
    assert (place / "a").replace_version(version, b"newer")
    assert not (place / "a").replace_version(version, b"late")
    assert (place / "a").read_bytes() == b"newer"
    (place / "a").unlink()
    assert not (place / "a").exists()


def test_a_request_that_never_arrives_is_made_again(s3_server):
    relay = StoreRelay(s3_server)
    relay.come()
    make_bucket(s3_server, "never-arrives")
    answered = []

    def trouble(_method, _path):
        answered.append(len(answered) % 2)
        return None if answered[-1] else Trouble(reset=True)

    with reaching(relay.address):
        relay.trouble = trouble
        path = path_at("s3://never-arrives/a")
        assert create_record(path, {"a": 1})
        assert read_record(path) == {"a": 1}
    relay.go()


def test_a_lock_is_ones_own_and_is_free_again(place):
    workspace = Workspace.at(place)
    for _ in range(2):
        with writing(workspace, "birds"):
            assert f'"pid":{os.getpid()}'.encode() in (workspace.locks / "birds.json").read_bytes()
    assert [name for name, _ in place.objects()] == []


def test_pictures_stay_where_their_records_say(place, tmp_path):
    for name in ("tar", "records"):
        (tmp_path / name).write_bytes(name.encode())
    named = tar_name(place, "0" * 32)
    publish_shard(place, "0" * 32, tar=tmp_path / "tar", records=tmp_path / "records", tar_as=named)
    assert (place / named).read_bytes() == b"tar"


def test_a_line_of_a_journal_is_there_once(place):
    lines = lines_at(place / "spending")
    with lines.held():
        assert lines.append(b"one")
        assert lines.append(b"two")
    again = lines_at(place / "spending")
    with again.held():
        assert list(again.new_lines()) == [b"one", b"two"]
