import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from evenly.storage.errors import InputError
from evenly.storage.files.features import is_feature_file, read_feature_rows

ROWS = np.array([[3, 4], [0, 2], [1, 0]], np.float32)
UNIT = [[0.6, 0.8], [0, 1], [1, 0]]


def parquet(path, rows, **columns):
    pq.write_table(pa.table({"emb": pa.array(rows, pa.list_(pa.float32())), **columns}), path)


def write(path, kind):
    if kind == ".npz":
        np.savez(path, l14_img=ROWS.astype(np.float16), ids=np.arange(3))
    elif kind == ".safetensors":
        save_file({"features": ROWS, "others": ROWS[:1]}, path)
    else:
        parquet(path, ROWS.tolist(), name=["a", "b", "c"], caption=["x", "y", "z"])


@pytest.mark.parametrize("kind", [".npz", ".safetensors", ".parquet"])
def test_rows_come_with_unit_length_whatever_the_file(tmp_path, kind):
    path = tmp_path / f"f{kind}"
    write(path, kind)
    assert is_feature_file(path)
    found = read_feature_rows(path)
    assert found.rows.dtype == np.float32
    assert np.allclose(found.rows, UNIT, atol=1e-3)
    assert found.names == (("a", "b", "c") if kind == ".parquet" else ("row 0", "row 1", "row 2"))


def test_a_parquet_of_pictures_and_a_folder_are_no_features(tmp_path):
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"image": [b"x"]}), path)
    assert not is_feature_file(path)
    assert not is_feature_file(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"a": ROWS, "b": ROWS}, "got a, b"),
        ({"a": np.arange(3)}, "got none"),
        ({"a": np.array([[np.nan, 1]])}, "finite rows"),
        ({"a": np.zeros((2, 2))}, "none of zeros"),
        ({"a": ROWS[:0]}, "or none"),
        ({"a": np.array([[{}]], dtype=object)}, "must be readable"),
    ],
)
def test_arrays_that_are_no_features_are_refused(tmp_path, arrays, text):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(InputError, match=text):
        read_feature_rows(tmp_path / "f.npz")


@pytest.mark.parametrize("rows", [[[1, 0], [1]], [[1, 0], None], []])
def test_a_column_of_uneven_rows_is_refused(tmp_path, rows):
    parquet(tmp_path / "f.parquet", rows)
    with pytest.raises(InputError, match="rows of one length"):
        read_feature_rows(tmp_path / "f.parquet")


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_bytes_that_are_no_file_of_that_kind_are_refused(tmp_path, kind):
    path = tmp_path / f"f{kind}"
    path.write_bytes(b"\x80\x04N.")
    with pytest.raises(InputError, match="must be readable"):
        read_feature_rows(path)
