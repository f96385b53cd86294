import io
import lzma

import numpy as np
import pytest

from evenly.storage.files.unpacked import unpacked_arrays

ARRAYS = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.array(["x", "yy"])}


@pytest.fixture
def packed(tmp_path):
    stream = io.BytesIO()
    np.savez(stream, **ARRAYS)
    path = tmp_path / "model.npz.xz"
    path.write_bytes(lzma.compress(stream.getvalue()))
    return path


def assert_read(cache, packed):
    arrays = unpacked_arrays(cache, packed)
    assert arrays.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], values)
        assert arrays[name].dtype == values.dtype


def test_arrays_are_unpacked_once(tmp_path, packed, monkeypatch):
    assert_read(tmp_path, packed)
    monkeypatch.setattr(lzma, "open", None)
    assert_read(tmp_path, packed)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_what_is_kept_and_damaged_is_unpacked_again(tmp_path, packed, damage):
    assert_read(tmp_path, packed)
    (kept,) = (tmp_path / "unpacked").glob("*.npz")
    content = kept.read_bytes()
    place = content.index(ARRAYS["a"].tobytes())
    flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    kept.write_bytes({"cut": content[:-40], "empty": b"", "flipped": flipped}[damage])
    assert_read(tmp_path, packed)
    assert kept.read_bytes() == content


def test_another_packed_file_is_another_one_and_no_cache_is_no_trouble(tmp_path, packed):
    assert_read(tmp_path, packed)
    packed.write_bytes(packed.read_bytes() + lzma.compress(b""))
    (tmp_path / "file").touch()
    assert_read(tmp_path / "file", packed)
    assert_read(tmp_path, packed)
    assert len([*(tmp_path / "unpacked").glob("*.npz")]) == 2
