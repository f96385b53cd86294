"""A rebuild from DataComp's metadata: captions, uids and features are there, pictures and a network are not."""

import socket

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from evenly.audit.verify import verify_build
from evenly.demo.pictures.openmoji import draw_picture, list_codes
from evenly.features import to_unit_rows
from evenly.flows.cli.datasets.outcome import export_build
from evenly.storage.feature_store import FeatureStore
from evenly.storage.pools.source import PoolError
from evenly.tasks.encoders import open_encoder
from evenly.tasks.rebuild.features import extract_features
from tests.flows.test_local_sources import caption, kept_rows, rebuild

N = 24


@pytest.fixture(scope="module")
def metadata(tmp_path_factory):
    """DataComp's files for 24 pairs, two of one picture; the workspace that a rebuild of them gives."""
    folder = tmp_path_factory.mktemp("metadata")
    codes = list_codes()
    numbers = [*range(N - 1), 0]
    pictures = [draw_picture(codes[number * 61], size_px=96, background="white") for number in numbers]
    recipe = write_recipe(folder, 64)
    from evenly.flows.recipe import read_recipe
    from evenly.flows.runs import open_run

    with open_run(read_recipe(recipe), root=folder / "none", quiet=True) as run:
        rows = open_encoder(run).encode_images(pictures)
    table = {
        "uid": [f"{7 * number:032x}" for number in range(N)],
        "url": [f"http://nowhere.invalid/{number}.png" for number in range(N)],
        "text": [caption(number) for number in range(N)],
        "original_width": [640] * (N - 1) + [32],
        "original_height": [480] * N,
        "clip_l14_similarity_score": [0.3] * N,
    }
    pq.write_table(pa.table(table), folder / "00.parquet")
    np.savez(folder / "00.npz", l14_img=rows.astype(np.float16))
    return folder, rows


def write_recipe(folder, side, vector="l14_img"):
    source = {"kind": "features", "path": str(folder / "*.parquet"), "caption": "text", "id": "uid", "vector": vector}
    recipe = {
        "name": "local",
        "seed": 3,
        "sources": [source | {"encoder": {"model": "embedded"}}],
        "curate": {
            "match": {"mode": "normalized", "plurals": True},
            "download": {},
            "image": {"image_size": {"min_side": side}},
            "deduplicate": {"perceptual": None, "semantic": 0.999, "colour": None},
            "align": {"keep_top": 0.9},
            "balance": {"t": 1000},
        },
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


def test_features_of_the_pool_are_used_and_its_uids_exported(metadata, tmp_path, monkeypatch):
    folder, rows = metadata
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asked the network"))
    run, manifest = rebuild(write_recipe(folder, 64), tmp_path / "w")
    reasons = {step["name"]: step["reasons"] for step in manifest["steps"]}
    assert reasons["check_images"] == {"too_small": 1}
    kept = kept_rows(run, manifest)
    assert 15 < len(kept) < N
    store = FeatureStore(run.workspace, open_encoder(run).identity, "images")
    expected, _ = to_unit_rows(rows.astype(np.float16).astype(np.float32))
    for row in kept:
        number = int(row["source_id"], 16) // 7
        np.testing.assert_array_equal(store.read([row["image_id"]])[0][0], expected[number])
        assert (row["width"], row["n_bytes"], row["phash"]) == (640, None, None)
    assert extract_features(run, manifest)["images_new"] == 0
    assert verify_build(run.workspace, manifest, read_bytes=lambda _: pytest.fail("asked for bytes")) == []
    export_build(manifest["build"], format_name="datacomp", out=tmp_path / "out", root=run.workspace.root)
    ids = np.load(tmp_path / "out" / "uids.npy", allow_pickle=False)
    assert ids.dtype == np.dtype("u8,u8")
    assert [(int(high) << 64) + int(low) for high, low in ids] == sorted(int(row["source_id"], 16) for row in kept)


@pytest.mark.slow
def test_captions_that_are_longer_than_the_encoder_reads_are_counted(metadata, tmp_path, capsys):
    folder, _ = metadata
    (tmp_path / "00.npz").write_bytes((folder / "00.npz").read_bytes())
    table = pq.read_table(folder / "00.parquet")
    captions = ["a dog and " * 50, *table["text"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.column_names.index("text"), "text", [captions]), tmp_path / "00.parquet")
    run, _ = rebuild(write_recipe(tmp_path, 1), tmp_path / "w", quiet=False)
    (record,) = run.ledger.records("align")
    assert record.notes["captions_cut"] == 1
    assert "1 of 23 are longer than the model reads and cut" in capsys.readouterr().err


def test_equal_features_are_one_picture(metadata, tmp_path):
    run, manifest = rebuild(write_recipe(metadata[0], 1), tmp_path / "w")
    assert next(step for step in manifest["steps"] if step["name"] == "deduplicate_exact")["counts"]["merged"] == 1
    assert len({row["image_id"] for row in kept_rows(run, manifest)}) == len(kept_rows(run, manifest))


def test_features_of_another_length_than_the_encoders_are_refused(metadata, tmp_path):
    folder, rows = metadata
    np.savez(tmp_path / "00.npz", l14_img=rows[:, :5])
    (tmp_path / "00.parquet").write_bytes((folder / "00.parquet").read_bytes())
    with pytest.raises(PoolError, match=r"`vector` must be features of the recipe's encoder, of .* numbers; got 5"):
        rebuild(write_recipe(tmp_path, 1), tmp_path / "w")
