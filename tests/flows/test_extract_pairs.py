"""`evenly extract RECIPE`: what is stored is counted without an encoder, and written as a file that adapters read."""

import json

import numpy as np
import pytest
import yaml

from evenly.storage.builds import Builds
from evenly.storage.feature_store import FeatureStore
from evenly.storage.files.arrays import read_arrays
from evenly.storage.workspace import Workspace
from evenly.tasks.pictures.encoded import count_stored
from tests.labelled_build import Picture, WordEncoder, publish
from tests.picture_pool import picture

CLASSES = ["cat", "dog"]
PICTURES = [
    Picture(name, {name: 1.0, f"{part} {number}": 0.8}, part, caption=f"a {name} of {part} number {number}")
    for name in [*CLASSES, "tree"]
    for part in ("train", "val", "test")
    for number in range(4)
] + [Picture("", {"cat": 0.5, "b": 0.8}, "", caption="something")]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace whose build has features of pictures alone."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    workspace = Workspace.at(tmp_path / "w")
    publish(workspace, PICTURES)
    Builds(workspace).promote("some-1", recipe="some")
    return workspace


@pytest.fixture
def extract(evenly, workspace, tmp_path):
    """Extract the build of a recipe with these class lists to `pairs.npz`: (exit status, facts or None, stderr)."""

    def run(*lists, options=("--out", tmp_path / "pairs.npz")):
        recipe = {
            "name": "some",
            "seed": 7,
            "sources": [{"kind": "csv", "path": "pool.csv"}],
            "labels": {"column": "label", "split": str(workspace.root / "some-1.csv")},
            "curate": {"download": {}},
            "classes": list(lists),
        }
        (tmp_path / "some.yaml").write_text(yaml.safe_dump(recipe))
        (tmp_path / "pets.txt").write_text("\n".join(CLASSES) + "\n")
        status, out, err = evenly("extract", tmp_path / "some.yaml", "--root", workspace.root, "--json", *options)
        return status, json.loads(out) if status == 0 else None, err

    return run


def store_captions(workspace):
    """Store features of all captions, as a rebuild does."""
    from evenly.tasks.encoders import store_texts
    from evenly.tasks.run import Run

    store_texts(Run(workspace=workspace, seed=7), [picture.caption for picture in PICTURES])


def test_a_build_whose_pairs_are_not_encoded_is_published_without_an_encoder(evenly, tmp_path, monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: pytest.fail("an encoder was loaded"))
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture((200, 90, 80), pattern=number))
    rows = [f"{number}.png,a red thing number {number}" for number in range(3)]
    (tmp_path / "metadata.csv").write_text("\n".join(["file_name,caption", *rows]))
    recipe = {
        "name": "red",
        "seed": 7,
        "sources": [{"kind": "folder", "path": "."}],
        "curate": {
            "download": {},
            "deduplicate": {"exact": True, "perceptual": None, "semantic": None},
            "balance": None,
        },
        "features": {"encode": False},
    }
    (tmp_path / "red.yaml").write_text(yaml.safe_dump(recipe))
    root = tmp_path / "w"
    status, out, err = evenly("rebuild", tmp_path / "red.yaml", "--root", root, "--json")
    assert status == 0, err
    manifest = Builds(Workspace.at(root)).read(json.loads(out)["build"])
    assert (manifest["samples"]["kept"], manifest["encoder"]) == (3, None)
    assert evenly("verify", "latest", "--root", root)[0] == 0
    assert evenly("report", "latest", "--root", root)[0] == 0
    status, _, err = evenly("extract", tmp_path / "red.yaml", "--root", root)
    assert status == 2
    assert "whose recipe says `features: {encode: false}`. Rebuild" in err


def test_what_is_stored_is_counted_without_the_encoder(extract, workspace, monkeypatch):
    manifest = Builds(workspace).read("some-1")
    assert count_stored(workspace, manifest) is None
    store_captions(workspace)
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: pytest.fail("an encoder was loaded"))
    status, facts, err = extract(options=())
    assert status == 0, err
    counts = {"images": 37, "images_new": 0, "texts": 37, "devices": {"not known": 37}}
    assert facts == {"encoder": WordEncoder.identity, **counts}
    assert extract(options=["--profile"])[1]["profile"] == {"pictures": 0}
    monkeypatch.setattr("evenly.tasks.pictures.encoded._AT_ONCE", 36)
    assert count_stored(workspace, manifest) is None


def test_without_a_class_list_all_pairs_stand_row_for_row(extract, workspace, tmp_path):
    store_captions(workspace)
    status, facts, err = extract()
    assert status == 0, err
    assert facts["pairs"] == 37
    with np.load(tmp_path / "pairs.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["captions"].tolist() == [picture.caption for picture in PICTURES]
    assert arrays["labels"].tolist() == [picture.label for picture in PICTURES]
    assert arrays["ids"].tolist() == [f"{number:032x}" for number in range(37)]
    stored = FeatureStore(workspace, WordEncoder.identity, "images").read(arrays["ids"].tolist())[0]
    assert np.array_equal(arrays["image_features"].astype(np.float16), stored)
    assert arrays["caption_features"].shape == arrays["image_features"].shape
    assert arrays["encoder"].tolist() == ["embedded", "", WordEncoder.identity]


def test_with_a_described_list_it_is_a_file_for_a_leaderboard_that_has_vcd(extract, evenly, workspace, tmp_path):
    store_captions(workspace)
    (tmp_path / "texts.csv").write_text(
        "class,method,phrase\ncat,description,whiskers\ncat,description,a tail\ndog,description,a wet nose\n"
    )
    listed = {"list": "pets.txt", "given": "texts.csv", "adapters": ["vcd", "cooked"], "unseen": {"near": ["tree"]}}
    status, facts, err = extract(listed)
    assert status == 0, err
    assert [facts[part] for part in ("train", "val", "test")] == [8, 8, 8]
    arrays = read_arrays(tmp_path / "pairs.npz")
    assert arrays["classes"].tolist() == CLASSES
    assert arrays["class_text_labels"].tolist() == [0, 0, 1]
    assert {"train_caption_features", "val_captions", "near_ood_features"} <= set(arrays)
    texts = dict(zip(arrays["test_ids"].tolist(), arrays["test_captions"].tolist(), strict=True))
    assert all(PICTURES[int(uid, 16)].caption == text for uid, text in texts.items())
    place = ("--root", workspace.root, "--out", tmp_path / "board", "--json")
    plan = ("--adapter", "vcd", "--shots", "1", "--seeds", "1", "--workers", "1")
    status, out, err = evenly("leaderboard", "--arrays", tmp_path / "pairs.npz", *plan, *place)
    assert status == 0, err
    assert "vcd" in [row["name"] for row in json.loads(out)["leaderboards"][0]["summary"]]


def test_what_cannot_be_written_is_named(extract, tmp_path):
    status, _, err = extract({"list": "pets.txt"}, {"list": "pets.txt"})
    assert (status, "`--list` must say which class list" in err) == (2, True)
    status, _, err = extract(options=("--split", tmp_path / "x.csv"))
    assert (status, "`--split` must come with `--images`" in err) == (2, True)
    status, _, err = extract(options=("--out", tmp_path))
    assert (status, "must be a file; got the folder" in err) == (2, True)
