"""Pictures beside the pool: read whatever they lie in, once, in order; what is no picture is counted."""

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.tasks import reference_sets as module
from evenly.tasks.reference_sets import check_references, read_references, references_hash
from evenly.tasks.run import Run
from tests.tasks.whole_rebuild import BLUE, GREEN, RED, ColourWords, picture

PICTURES = {"b.png": picture(RED), "a.png": picture(GREEN), "sub/c.png": picture(BLUE)}


@pytest.fixture
def run(workspace, colour_words) -> Run:  # noqa: ARG001 - the run's encoder
    return Run(workspace=workspace, seed=3, processes=1)


@pytest.fixture
def folder(tmp_path):
    for name, content in PICTURES.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "set"


def test_pictures_of_a_folder_have_names_hashes_fingerprints_and_features(run, folder):
    found = read_references(run, str(folder), features=True)
    contents = {name: content for name, content in PICTURES.items() if name in found.names}
    assert {"a.png", "b.png"} <= contents.keys()
    assert list(found.image_ids) == [hashlib.sha256(PICTURES[name]).hexdigest() for name in found.names]
    assert found.pictures.decoded.all()
    assert found.pictures.rows.shape == (len(found.names), ColourWords.dimension)
    assert found.unreadable == 0
    assert len(set(found.pictures.hashes.tolist())) >= 1


def test_without_features_none_are_made(run, folder):
    found = read_references(run, str(folder), features=False)
    assert found.pictures.rows is None
    assert not run.workspace.features.exists()


def test_features_are_made_once_and_shared_with_the_pool(run, folder, monkeypatch):
    read_references(run, str(folder), features=True)
    store = FeatureStore(run.workspace, ColourWords.identity, "images")
    assert store.missing([hashlib.sha256(PICTURES["a.png"]).hexdigest()]) == []
    monkeypatch.setattr(ColourWords, "encode_images", lambda *_, **__: 1 / 0)
    assert len(read_references(run, str(folder), features=True).names) >= 2


def test_batches_of_any_size_give_the_same(run, folder, monkeypatch):
    whole = read_references(run, str(folder), features=True)
    monkeypatch.setattr(module, "BATCH", 1)
    cut = read_references(replace(run, processes=3), str(folder), features=True)
    assert list(cut.names) == list(whole.names)
    assert np.array_equal(cut.pictures.hashes, whole.pictures.hashes)
    assert np.array_equal(cut.pictures.colours, whole.pictures.colours)
    assert np.array_equal(cut.pictures.rows, whole.pictures.rows)


def test_files_that_are_no_picture_are_counted_and_leave_the_others(run, folder):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n half")
    (folder / "empty.jpg").write_bytes(b"")
    found = read_references(run, str(folder), features=True)
    assert found.unreadable == 2
    assert "broken.png" not in found.names
    assert len(found.names) == len(found.image_ids) == len(found.pictures.rows)


def test_a_set_of_which_nothing_decodes_is_refused(run, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="must hold pictures that decode; got none of 1"):
        read_references(run, str(tmp_path / "x.png"), features=False)


def test_pictures_in_a_parquet_file_are_a_set(run, tmp_path):
    table = pa.table({"image": [PICTURES["a.png"], PICTURES["b.png"], b"broken"], "name": ["one", "two", "three"]})
    pq.write_table(table, tmp_path / "set.parquet")
    found = read_references(run, str(tmp_path / "set.parquet"), features=False)
    assert (list(found.names), found.unreadable) == (["one", "two"], 1)


# Files of features.


@pytest.fixture
def arrays(tmp_path):
    np.savez(tmp_path / "set.npz", features=np.eye(3, dtype=np.float32)[[0, 2]])
    return tmp_path / "set.npz"


def test_features_are_a_set_known_by_rows_alone(run, arrays):
    found = read_references(run, str(arrays), features=True)
    assert list(found.names) == ["row 0", "row 1"]
    assert list(found.image_ids) == [None, None]
    assert not found.pictures.decoded.any()
    assert found.pictures.rows.dtype == np.float16


def test_features_that_cannot_be_compared_are_refused(run, arrays, monkeypatch):
    with pytest.raises(InputError, match="holds features, which the recipe compares none by"):
        read_references(run, str(arrays), features=False)
    monkeypatch.setattr(ColourWords, "dimension", 512)
    with pytest.raises(InputError, match="must have 512 columns, as the recipe's encoder gives; got 3"):
        read_references(run, str(arrays), features=True)


# What the key of a step is made of.


def test_the_hash_follows_names_and_bytes_and_not_where_the_folder_lies(run, folder, tmp_path):
    first = references_hash(run, str(folder))
    assert references_hash(run, str(folder)) == first
    moved = folder.rename(tmp_path / "moved")
    assert references_hash(run, str(moved)) == first
    (moved / "b.png").rename(moved / "bb.png")
    assert references_hash(run, str(moved)) != first
    (moved / "bb.png").rename(moved / "b.png")
    (moved / "a.png").write_bytes(PICTURES["b.png"])
    changed = references_hash(run, str(moved))
    assert changed != first
    (moved / "a.png").rename(moved / "z.png")
    assert references_hash(run, str(moved)) not in {first, changed}


def test_the_hash_of_features_follows_their_content(run, arrays):
    first = references_hash(run, str(arrays))
    np.savez(arrays, features=np.eye(3, dtype=np.float32)[[0, 1]])
    assert references_hash(run, str(arrays)) != first


def test_a_set_may_lie_in_the_workspace_and_a_url_is_refused(run, folder):
    run.workspace.root.mkdir(parents=True, exist_ok=True)
    folder.rename(run.workspace.root / "val")
    check_references(run, "{root}/val")
    assert len(read_references(run, "{root}/val", features=False).names) >= 2
    with pytest.raises(InputError, match="paths in a recipe must be of this machine"):
        check_references(run, "s3://bucket/val")
    with pytest.raises(InputError, match="nowhere"):
        check_references(run, "{root}/nowhere")
