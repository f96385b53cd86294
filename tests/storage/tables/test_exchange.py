"""Rows on their way to another cut: all arrive, in order and unchanged, and nothing stays behind."""

import subprocess
import sys

import pyarrow as pa
import pytest

from evenly.storage.errors import DamagedError
from evenly.storage.tables.exchange import exchange_folder, received_rows, remove_exchange, send_rows
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


def test_rows_that_changed_on_the_way_are_refused(tmp_path):
    sent = pa.table({"uid": UIDS, "text": [f"a caption of {number}" for number in range(200)]})
    send_rows(tmp_path, "a", 0, "uid", [sent])
    (path,) = tmp_path.rglob("*.arrow")
    written = path.read_bytes()
    for place in range(0, len(written), len(written) // 60):
        data = bytearray(written)
        data[place] ^= 4
        path.write_bytes(data)
        with pytest.raises(DamagedError, match="Run the rebuild again"):
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
