"""Rows on their way to another cut: all arrive, in order and unchanged, and nothing stays behind."""

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evenly.storage.errors import DamagedError, StorageError
from evenly.storage.tables import exchange
from evenly.storage.tables.exchange import (
    exchange_folder,
    open_exchange,
    received_rows,
    remove_exchange,
    send_rows,
    temporary_folder,
)
from evenly.storage.tables.partitions import partition_of

UIDS = [f"{7 * number % 256:02x}{number:030x}" for number in range(200)]
LEAVE = """
import sys
from pathlib import Path
from evenly.storage.tables.exchange import exchange_folder
print(exchange_folder(Path(sys.argv[1]), "left"))
"""


def test_each_row_arrives_once_in_its_partition_in_the_order_sent(tmp_path):
    tables = [pa.table({"uid": UIDS[:120], "n": range(120)}), pa.table({"uid": UIDS[120:], "more": ["x"] * 80})]
    schemas = send_rows(tmp_path, "a", 3, "uid", tables)
    assert schemas == [table.schema for table in tables]
    arrived = []
    for number in range(8):
        uids = [uid for table in received_rows(tmp_path, number) for uid in table["uid"].to_pylist()]
        assert {partition_of(uid, 3) for uid in uids} <= {number}
        assert uids == [uid for uid in UIDS if uid in set(uids)]
        arrived += uids
    assert sorted(arrived) == sorted(UIDS)


@pytest.mark.parametrize("bits", [0, 1, 5, 16])
def test_rows_are_cut_by_the_leading_bits_of_numbers_too(tmp_path, monkeypatch, bits):
    monkeypatch.setattr("evenly.storage.tables.exchange.HELD_BYTES", 400)
    keys = np.random.default_rng(1).integers(0, 2**64, 300, dtype=np.uint64)
    keys[:2] = 0, 2**64 - 1
    sent = pa.table({"key": keys, "n": range(300)})
    send_rows(tmp_path, "a", bits, "key", [sent.slice(start, 20) for start in range(0, 300, 20)])
    arrived = []
    for number in range(1 << bits):
        for table in received_rows(tmp_path, number):
            arrived += [(key, n, number) for key, n in zip(*table.to_pydict().values(), strict=True)]
    assert sorted((key, n) for key, n, _ in arrived) == sorted(zip(keys.tolist(), range(300), strict=True))
    assert all(key >> (64 - bits) == number for key, _, number in arrived)
    for number in range(1 << bits):
        places = [n for _, n, here in arrived if here == number]
        assert places == sorted(places)


def test_rows_that_changed_on_the_way_are_refused(tmp_path):
    sent = pa.table({"uid": UIDS, "text": [f"a caption of {number}" for number in range(200)]})
    send_rows(tmp_path, "a", 0, "uid", [sent])
    (path,) = tmp_path.rglob("*.arrow")
    written = path.read_bytes()
    for place in range(0, len(written), len(written) // 60):
        data = bytearray(written)
        data[place] ^= 4
        path.write_bytes(data)
        with pytest.raises(DamagedError, match="Run it again"):
            received_rows(tmp_path, 0)


def test_a_folder_that_a_process_left_behind_is_removed_and_one_in_use_is_not(tmp_path):
    left = subprocess.run(
        [sys.executable, "-c", LEAVE, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert [str(path) for path in tmp_path.iterdir()] == [left]
    first = exchange_folder(tmp_path, "collect")
    second = exchange_folder(tmp_path, "collect")
    assert sorted(tmp_path.iterdir()) == sorted([first, second])
    remove_exchange(first)
    remove_exchange(second)
    assert not list(tmp_path.iterdir())


def test_what_only_reads_a_workspace_leaves_no_folder_in_it(tmp_path):
    with open_exchange(tmp_path / "exchange", "a") as folder:
        with open_exchange(tmp_path / "exchange", "b") as other:
            assert folder.parent == other.parent == tmp_path / "exchange"
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())


def test_a_temporary_folder_has_a_drawn_name_and_nobody_else_may_enter_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir(mode=0o777)
    (tmp_path / "read-only").touch()  # no folder can be made there
    names = set()
    for _ in range(2):
        with open_exchange(tmp_path / "read-only", "a") as folder:
            assert folder.parent == tmp_path / "tmp"
            assert folder.stat().st_mode & 0o777 == 0o700
            names.add(folder.name)
    assert len(names) == 2
    assert not list((tmp_path / "tmp").iterdir())


def test_of_temporary_folders_only_those_that_the_user_left_behind_are_removed(tmp_path, monkeypatch):
    left = subprocess.run(
        [sys.executable, "-c", LEAVE.replace("exchange_folder", "temporary_folder"), str(tmp_path)],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (tmp_path / "somewhere").mkdir()
    (tmp_path / "left-link").symlink_to(tmp_path / "somewhere")
    (tmp_path / "left-file").touch()
    others = {path.name for path in tmp_path.iterdir()} - {Path(left).name}
    another = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: another)
    folders = {temporary_folder(tmp_path, "left")}
    assert Path(left).is_dir()  # another's
    monkeypatch.undo()
    folders.add(temporary_folder(tmp_path, "left"))
    assert not Path(left).exists()
    assert {path.name for path in tmp_path.iterdir()} == others | {folder.name for folder in folders}
    assert not list((tmp_path / "somewhere").iterdir())
    for folder in folders:
        remove_exchange(folder)


def test_a_folder_on_nfs_which_locks_only_files_open_for_writing_is_held_and_removed(tmp_path, monkeypatch):
    lock = fcntl.flock

    def as_nfs(descriptor, kind):
        if kind & fcntl.LOCK_EX and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        lock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", as_nfs)
    (tmp_path / "left-behind" / "00001").mkdir(parents=True)
    (tmp_path / "a file").touch()
    folder = exchange_folder(tmp_path, "collect")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", folder.name]
    remove_exchange(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"and files in it lockable; .* No locks available\. Free space, or choose"):
        exchange_folder(tmp_path, "collect")


def test_a_writer_that_stops_on_the_way_leaves_what_another_of_its_name_has_sent(tmp_path, monkeypatch):
    """A worker whose node is taken for dead may still write what another was given to do."""
    folder = exchange_folder(tmp_path / "exchange", "rows")
    table = pa.table({"uid": [f"{row:032x}" for row in range(100)]})
    send_rows(folder, "one", 0, "uid", [table])

    def cut_off(_stream):
        raise KeyboardInterrupt

    monkeypatch.setattr(exchange, "append_sums", cut_off)
    with pytest.raises(KeyboardInterrupt):
        send_rows(folder, "one", 0, "uid", [table])
    assert [rows.num_rows for rows in received_rows(folder, 0)] == [100]
