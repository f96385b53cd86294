import hashlib
import io
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.source import PoolSource, local_features, read_captions, read_pool, source_hash

VECTORS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float16)
ROWS = {
    "uid": [f"{number:032x}" for number in range(4)],
    "url": [f"http://x.test/{number}" for number in range(4)],
    "text": ["a fox", "a cat", None, "a tree"],
    "original_width": [640, 320, 10, 20],
    "clip_l14_similarity_score": [0.1, 0.2, 0.3, 0.4],
    "face_bboxes": [[[0.0, 0.1, 0.2, 0.3]], [], [], []],
}


def datacomp(folder, **arrays):
    pq.write_table(pa.table(ROWS), folder / "a.parquet")
    np.savez(folder / "a.npz", **({"l14_img": VECTORS, "b32_img": VECTORS[:, :3]} | arrays))
    return PoolSource(kind="features", path=str(folder / "*.parquet"), caption="text", id="uid", vector="l14_img")


def test_datacomp_metadata_and_the_arrays_beside_it_are_rows_with_features(tmp_path):
    source = datacomp(tmp_path)
    (table,) = read_pool(source)
    hashes = [hashlib.sha256(row.astype("<f4").tobytes()).hexdigest() for row in VECTORS]
    assert table["url"].to_pylist() == [f"features:{one}" for one in hashes]
    assert table["pool_url"].to_pylist() == ROWS["url"]
    assert table["source_id"].to_pylist() == ROWS["uid"]
    assert table["reject"].to_pylist() == [None, None, "missing_caption", None]
    assert table["width"].to_pylist() == table["original_width"].to_pylist() == [640, 320, 10, 20]
    (found,) = local_features(source)
    assert found.ids.to_pylist() == hashes
    np.testing.assert_array_equal(found.vectors, VECTORS.astype(np.float32))
    assert [captions.to_pylist() for captions in read_captions(source)] == [ROWS["text"]]


def test_a_column_of_vectors_and_safetensors_say_the_same_as_arrays(tmp_path):
    expected = next(read_pool(datacomp(tmp_path)))["url"]
    (tmp_path / "a.npz").unlink()
    save_file({"l14_img": VECTORS}, tmp_path / "a.safetensors")
    source = PoolSource(kind="features", path=str(tmp_path / "a.parquet"), caption="text", vector="l14_img")
    assert next(read_pool(source))["url"].equals(expected)
    vectors = pa.array([row.tolist() for row in VECTORS.astype(np.float32)], pa.list_(pa.float32()))
    pq.write_table(pa.table(ROWS | {"vector": vectors}), tmp_path / "b.parquet")
    (table,) = read_pool(PoolSource(kind="features", path=str(tmp_path / "b.parquet"), caption="text"))
    assert table["url"].equals(expected)
    assert "vector" not in table.column_names


def test_rows_without_usable_features_say_why(tmp_path):
    vectors = [[1.0, 2.0], None, [float("nan"), 1.0], [0.0, 0.0], [float("inf"), 1.0], [3.0, 4.0]]
    table = pa.table({"caption": ["x"] * 6, "vector": pa.array(vectors, pa.list_(pa.float64()))})
    pq.write_table(table, tmp_path / "a.parquet")
    (found,) = read_pool(PoolSource(kind="features", path=str(tmp_path / "a.parquet")))
    assert found["reject"].to_pylist() == [
        None, "missing_features", "bad_features", "bad_features", "bad_features", None,
    ]  # fmt: skip
    assert found["url"].is_valid().to_pylist() == [True, False, False, False, False, True]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"l14_img": VECTORS[:3]}, r"shape \(3, 6\) of float16 for 4 rows"),
        ({"l14_img": VECTORS.astype(int)}, "of int64 for 4 rows"),
        ({"l14_img": VECTORS[0]}, r"shape \(6,\)"),
        ({"l14_img": np.array([{"a": 1}] * 4, dtype=object)}, "of object for 4 rows"),
        ({"l14_img": np.asfortranarray(VECTORS)}, "for 4 rows"),
    ],
)
def test_arrays_that_do_not_fit_the_rows_are_refused(tmp_path, arrays, message):
    with pytest.raises(PoolError, match=f"`vector` must name features, one row .*{message}"):
        list(read_pool(datacomp(tmp_path, **arrays)))


def test_arrays_that_are_no_archive_or_lie_about_their_size_are_refused(tmp_path):
    source = datacomp(tmp_path)
    with pytest.raises(PoolError, match=r"got only l14_img.npy, b32_img.npy"):
        list(read_pool(PoolSource(kind="features", path=source.path, caption="text", vector="other")))
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"PK no zip", whole[: len(whole) // 2], whole[:100] + b"\xff" * 40 + whole[140:]):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(PoolError):
            list(read_pool(source))
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (4, 60000)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("l14_img.npy", stream.getvalue() + b"\0" * 16)
    with pytest.raises(PoolError, match="fewer bytes than its header tells"):
        list(read_pool(source))
    (tmp_path / "a.npz").unlink()
    with pytest.raises(PoolError, match="neither a column `l14_img` nor arrays beside the file"):
        list(read_pool(source))


def test_the_hash_of_a_source_follows_the_arrays_beside_it(tmp_path):
    source = datacomp(tmp_path)
    before = source_hash(source)
    np.savez(tmp_path / "a.npz", l14_img=VECTORS * 2)
    assert source_hash(source) != before


def test_vectors_of_unlike_lengths_are_refused(tmp_path):
    table = pa.table({"caption": ["x"] * 2, "vector": pa.array([[1.0, 2.0], [1.0]], pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(PoolError, match=r"vectors of lengths \[1, 2\]"):
        list(read_pool(PoolSource(kind="features", path=str(tmp_path / "a.parquet"))))
