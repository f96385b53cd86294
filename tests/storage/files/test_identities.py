"""A recorded identity is read while its files look as they did; what leaves no trace is found by content."""

import os
import time

import pytest

import evenly.storage.files
from evenly.storage.files import identities
from evenly.storage.files.identities import IdentityRecord, altered


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setattr(identities, "_SETTLED_NS", 0)
    path = tmp_path / "weights.bin"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def record(tmp_path):
    return IdentityRecord(cache=tmp_path / "cache", kind="encoder", facts={"m": 1}, code=(evenly.storage.files,))


def settle(record, weights, identity="first"):
    return record.settle(identity, [weights], since_ns=time.time_ns())


def test_what_was_computed_is_read_without_computing_again(record, weights):
    assert record.get(lambda: "first", [weights]) == "first"
    assert record.get(pytest.fail, [weights]) == "first"
    other = IdentityRecord(cache=record.cache, kind="encoder", facts={"m": 2}, code=record.code)
    assert other.read() is None


def write_again(path):
    path.write_bytes(b"two")


def write_and_restore_the_time(path):
    stat = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def put_another_in_its_place(path):
    stat, other = path.stat(), path.with_name("other")
    other.write_bytes(b"two")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.rename(path)


@pytest.mark.parametrize("change", [write_again, write_and_restore_the_time, put_another_in_its_place, os.unlink])
def test_other_weights_of_the_same_size_are_noticed(record, weights, change):
    assert settle(record, weights) is None
    change(weights)
    assert record.read() is None


def install_again(path):
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


def link_once_more(path):
    path.with_name("linked").hardlink_to(path)


@pytest.mark.parametrize("change", [install_again, link_once_more])
def test_the_same_content_is_the_same_though_it_looks_otherwise(record, weights, change, monkeypatch):
    settle(record, weights)
    before = record.path.read_bytes()
    change(weights)
    assert record.read() == "first"
    assert record.path.read_bytes() != before
    monkeypatch.setattr(identities, "_sha256", pytest.fail)
    assert record.read() == "first"


def test_a_link_that_leads_elsewhere_is_noticed(record, weights):
    link, other = weights.with_name("link"), weights.with_name("other")
    other.write_bytes(b"two")
    link.symlink_to(weights)
    settle(record, link)
    assert record.read() == "first"
    link.unlink()
    link.symlink_to(other)
    assert record.read() is None


@pytest.fixture
def frozen_look(monkeypatch):
    """Files look alike whatever is in them, as on a disk that rots, or where the clock was set back."""
    stamps = {}
    stamp = identities._stamp
    monkeypatch.setattr(identities, "_stamp", lambda path: stamps.setdefault(path, stamp(path)))


def test_what_leaves_no_trace_is_noticed_by_content_alone(record, weights, frozen_look):  # noqa: ARG001 - patches
    settle(record, weights)
    weights.write_bytes(b"two")
    assert record.read() == "first"
    assert list(altered(record.cache, {"another"})) == []
    assert list(altered(record.cache, {"first"})) == [(str(weights), "encoder first")]
    assert record.read() is None


def test_whoever_opens_the_files_is_told_of_a_record_that_is_wrong(record, weights, frozen_look):  # noqa: ARG001
    settle(record, weights)
    weights.write_bytes(b"two")
    assert settle(record, weights, "second") == "first"
    assert record.read() == "second"


def test_what_is_younger_than_a_tick_of_the_clock_is_not_recorded(record, weights, monkeypatch):
    monkeypatch.undo()
    settle(record, weights)
    assert record.read() is None


def test_records_of_files_that_are_gone_go(record, weights):
    settle(record, weights)
    gone = IdentityRecord(cache=record.cache, kind="encoder", facts={}, code=record.code)
    gone.settle("gone", [other := weights.with_name("other")], since_ns=time.time_ns())
    assert not gone.path.exists()
    other.write_bytes(b"one")
    gone.settle("gone", [other], since_ns=time.time_ns())
    assert gone.path.exists()
    other.unlink()
    settle(record, weights, "second")
    assert [path.name for path in record.path.parent.iterdir()] == [record.path.name]


def test_a_damaged_record_is_none_and_a_cache_that_cannot_be_written_is_no_error(record, weights, monkeypatch):
    settle(record, weights)
    record.path.write_bytes(record.path.read_bytes().replace(b"first", b"other"))
    assert record.read() is None

    def refuse(*_args):
        raise PermissionError

    monkeypatch.setattr(identities, "replace_record", refuse)
    assert settle(record, weights) is None
    assert record.read() is None
