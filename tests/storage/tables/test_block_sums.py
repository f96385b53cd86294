from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from evenly.storage.errors import DamagedError
from evenly.storage.tables.arrow_files import read_table, write_table
from evenly.storage.tables.block_sums import PARQUET_MARK, CheckedFile, append_sums, check_file, open_checked

N = 4 * 65_536
_LUCK = np.random.default_rng(3)
_NUMBERS = {name: _LUCK.random(N) for name in ("width", "height", "value")}
_UIDS = _LUCK.bytes(16 * N).hex()
TABLE = pa.table({"uid": [_UIDS[start : start + 32] for start in range(0, 32 * N, 32)], **_NUMBERS})
REMEDY = "Make it again."


def parquet(path: Path, table: pa.Table = TABLE) -> Path:
    pq.write_table(table.replace_schema_metadata(PARQUET_MARK), path)
    with path.open("r+b") as stream:
        append_sums(stream)
    return path


def flip(path: Path, at: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_other_programs_read_a_table_with_sums(tmp_path):
    write_table(tmp_path / "t.arrow", TABLE)
    assert ipc.open_file(str(tmp_path / "t.arrow")).read_all().equals(TABLE)
    assert pq.read_table(parquet(tmp_path / "t.parquet")).equals(TABLE)


def test_a_flip_is_seen_by_those_alone_who_read_its_block(tmp_path):
    path = tmp_path / "t.arrow"
    write_table(path, TABLE)
    flip(path, path.stat().st_size - 200_000)  # a value of the last batch
    assert read_table(path, ["uid"]).equals(TABLE.select(["uid"]))
    assert read_table(path, ["value"], pc.field("uid") == TABLE["uid"][5].as_py()).num_rows == 1
    with pytest.raises(
        DamagedError, match=r"t.arrow` must hold .* another checksum\. Remove the file and run"
    ) as error:
        read_table(path, ["value"])
    assert "\n" not in str(error.value)
    with pytest.raises(DamagedError):
        check_file(path, REMEDY)


def test_a_look_up_reads_its_key_and_one_batch(tmp_path, monkeypatch):
    path = tmp_path / "t.arrow"
    write_table(path, TABLE)
    read = []
    monkeypatch.setattr(CheckedFile, "read", counted(CheckedFile.read, read))
    assert read_table(path, None, pc.field("uid") == TABLE["uid"][70_000].as_py()).equals(TABLE.slice(70_000, 1))
    assert sum(read) < path.stat().st_size * 0.75  # the keys of four batches, and one batch


def counted(read, sizes: list[int]):
    def reading(file, size=-1):
        data = read(file, size)
        sizes.append(len(data))
        return data

    return reading


@pytest.mark.parametrize("name", ["old.arrow", "old.parquet"])
def test_a_file_from_before_there_were_sums_is_read_as_it_is(tmp_path, name):
    path = tmp_path / name
    if name == "old.arrow":
        with ipc.new_file(str(path), TABLE.schema) as writer:
            writer.write_table(TABLE)
        assert read_table(path, ["value"]).equals(TABLE.select(["value"]))
    else:
        pq.write_table(TABLE, path)
        with open_checked(path, REMEDY) as source:
            assert pq.ParquetFile(source).read().equals(TABLE)
    assert check_file(path, REMEDY) is False
    with pytest.raises(DamagedError, match="checksums are gone"), open_checked(path, REMEDY, required=True):
        pass


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_a_file_that_lost_its_sums_is_no_old_file(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    if ending == "arrow":
        write_table(path, TABLE.slice(0, 100))
    else:
        parquet(path, TABLE.slice(0, 100))
    data = path.read_bytes()
    at = data.index(b"evnsums1")
    path.write_bytes(data[:at] + bytes(40) + data[at + 40 :])
    with pytest.raises(DamagedError, match="checksums are gone"):
        check_file(path, REMEDY)


def test_a_parquet_file_without_the_mark_gets_no_sums(tmp_path):
    pq.write_table(TABLE.slice(0, 3), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="must hold"), (tmp_path / "t.parquet").open("r+b") as stream:
        append_sums(stream)
