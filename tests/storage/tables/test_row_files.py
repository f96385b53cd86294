"""Single rows of all partitions, by number."""

from contextlib import suppress
from os import fstat

import numpy as np
import pyarrow as pa
import pytest

from evenly.storage.errors import DamagedError
from evenly.storage.tables.row_files import RowFiles, row_numbers, row_places


@pytest.mark.parametrize("bits", [0, 1, 4])
def test_rows_of_several_partitions_are_read_in_the_order_of_their_numbers(tmp_path, bits):
    files, numbers, expected = RowFiles(folder=tmp_path / "rows", bits=bits), [], []
    for partition in range(1 << bits):
        n = 0 if partition == 1 else 5 + partition
        texts = [None if place == 2 else f"{partition} {place}" for place in range(n)]
        grids = np.full((n, 3), partition, np.uint8) + np.arange(n, dtype=np.uint8)[:, None]
        files.write(partition, {"text": pa.array(texts, pa.large_string()), "grid": grids})
        numbers.append(row_numbers(bits, partition, np.arange(n)))
        expected += list(zip(texts, grids.tolist(), strict=True))
    rows = np.concatenate(numbers)
    assert (np.diff(rows.astype(object)) > 0).all()
    chosen = np.arange(0, len(rows), 2)
    assert files.column("text", rows[chosen]).to_pylist() == [expected[place][0] for place in chosen]
    assert files.numbers("grid", rows[chosen]).tolist() == [expected[place][1] for place in chosen]
    assert row_places(bits, numbers[-1]).tolist() == list(range(len(numbers[-1])))


def test_no_rows_are_no_rows_of_the_right_kind(tmp_path):
    files, none = RowFiles(folder=tmp_path, bits=1), np.empty(0, np.uint64)
    files.write(0, {"text": pa.array([], pa.large_string()), "grid": np.empty((0, 3), np.uint8)})
    assert files.column("text", none).type == pa.large_string()
    assert files.numbers("grid", none).shape == (0, 3)


def test_rows_that_are_written_again_leave_what_others_read(tmp_path):
    """A worker that was given up may still write what another one writes for it."""
    files = RowFiles(folder=tmp_path, bits=0)
    files.write(0, {"text": pa.array(["a", "b"]), "grid": np.ones((2, 3), np.uint8)})
    with (tmp_path / "grid-00000.npy").open("rb") as stream:
        files.write(0, {"text": pa.array(["a", "b"]), "grid": np.ones((2, 3), np.uint8)})
        assert np.load(stream).tolist() == np.ones((2, 3)).tolist()
        assert (tmp_path / "grid-00000.npy").stat().st_ino != fstat(stream.fileno()).st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid-00000.npy", "text-00000.arrow"]


def test_a_file_that_was_cut_off_is_named(tmp_path):
    files = RowFiles(folder=tmp_path, bits=0)
    files.write(0, {"text": pa.array(["a", "b"]), "grid": np.zeros((2, 30), np.uint8)})
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:140])
    for read, name in ((files.column, "text-00000.arrow"), (files.numbers, "grid-00000.npy")):
        with pytest.raises(DamagedError, match=name):
            read(name.partition("-")[0], np.array([1], np.uint64))


LISTS = pa.array([[1, 2], [], None, [3] * 900] * 50, pa.large_list(pa.int64()))
TEXTS = pa.array(["", None, "a", "b" * 50] * 50)


@pytest.mark.parametrize("values", [np.arange(1200, dtype=np.int64).reshape(200, 6), TEXTS, LISTS], ids=["n", "t", "l"])
@pytest.mark.parametrize("strides", [(41, 2003), pytest.param((7, 401), marks=pytest.mark.slow)], ids=["few", "many"])
def test_a_flipped_bit_is_seen_before_its_row_is_used(tmp_path, values, strides):
    files, rows = RowFiles(folder=tmp_path, bits=0), np.arange(200, dtype=np.uint64)
    read = files.numbers if isinstance(values, np.ndarray) else files.column
    files.write(0, {"x": values})
    (path,) = tmp_path.iterdir()
    whole, few = path.read_bytes(), [0, 1, 2, 150]
    expected = values[few] if isinstance(values, np.ndarray) else values.take(pa.array(few))
    for place in range(0, len(whole), strides[len(whole) >= 20_000]):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with suppress(DamagedError):
            assert read("x", rows[few]).tolist() == expected.tolist()
        with pytest.raises(DamagedError, match=rf"^[^\n]*{path.name}[^\n]*$"):
            read("x", rows)


def test_rows_that_are_not_asked_for_are_not_read(tmp_path):
    """A search reads few rows of many: it must not read the whole file for them."""
    files = RowFiles(folder=tmp_path, bits=0)
    files.write(0, {"vector": np.zeros((5000, 512), np.float16)})
    path = tmp_path / "vector-00000.npy"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    rows = np.array([0, 4999], np.uint64)
    assert files.numbers("vector", rows).tolist() == np.zeros((2, 512)).tolist()
    with pytest.raises(DamagedError, match="has another checksum"):
        files.numbers("vector", np.arange(5000, dtype=np.uint64))
