"""A folder with COCO's annotations from a build to what people take away of it; and a pair of it that is forgotten."""

import json
from contextlib import redirect_stdout

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from evenly.features.dense.regions import encoded_mask
from tests.decoded_search import search
from tests.picture_pool import picture

N, SECRET = 5, "owl that nobody may see"


def annotations(number):
    mask = np.zeros((24, 32), np.bool_)
    mask[4:12, 8 : 20 + number] = True
    segmentation = {"size": [24, 32], "counts": encoded_mask(mask)}
    label = SECRET if number == 2 else ("fox", "owl")[number % 2]
    return [
        {"bbox": [8, 4, 12 + number, 8], "category": label, "segmentation": segmentation, "score": 0.5},
        {"bbox": [90, 90, 4, 4], "category": "fox"},
        {"bbox": [0, 0, 5, 6], "category": label, "phrase": f"the {label} of {number}"},
    ]


@pytest.fixture
def photos(tmp_path):
    """The folder, and a recipe for it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(N):
        (folder / f"{number}.png").write_bytes(picture((240, 90, 80), pattern=number, size=(32, 24)))
        (folder / f"{number}.txt").write_text(f"a picture of number {number}")
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(N)]
    entries = [entry | {"image_id": number} for number in range(N) for entry in annotations(number)]
    (folder / "boxes.json").write_text(json.dumps({"images": images, "annotations": entries, "categories": []}))
    return write_recipe(tmp_path, folder, "boxes.json")


def write_recipe(place, folder, file):
    recipe = {
        "name": folder.name,
        "seed": 1,
        "sources": [{"kind": "folder", "path": str(folder), "regions": file}],
        "curate": {"download": {}, "regions": {"method": None, "boxes": "regions"}},
        "features": {"model": "embedded", "encode": False},
        "measure": None,
    }
    (place / f"{folder.name}.yaml").write_text(yaml.safe_dump(recipe))
    return place / f"{folder.name}.yaml"


def exported(evenly, root, build, folder):
    assert evenly("export", build, "--to", "coco", "--out", folder, "--root", root)[::2] == (0, "")
    with redirect_stdout(None):  # pycocotools prints
        coco = COCO(str(folder / "annotations.json"))
    names = {number: category["name"] for number, category in coco.cats.items()}
    rows = [(coco.imgs[entry["image_id"]]["caption"], names[entry["category_id"]], tuple(entry["bbox"]),
             json.dumps(entry["segmentation"], sort_keys=True)) for entry in coco.anns.values()]  # fmt: skip
    return sorted(rows)


@pytest.mark.slow
def test_regions_are_drawn_exported_read_back_and_forgotten_with_their_pair(photos, evenly, tmp_path):
    root = tmp_path / "w"
    build = json.loads(evenly("rebuild", photos, "--root", root, "--json")[1])["build"]
    picture_file = tmp_path / "seen.png"
    status, out, _ = evenly("why", "2.png", "--root", root, "--picture", picture_file)
    assert (status, f"written  {picture_file}" in out) == (0, True)
    assert "regions      1  fox  column:regions  does not count: outside" in out
    with Image.open(picture_file) as seen:
        assert seen.size == (1024, 768)
    first = exported(evenly, root, build, tmp_path / "coco")
    assert len(first) == 2 * N
    for caption in (tmp_path / "coco" / "images").rglob("*.png"):
        row = next(row for row in json.loads((tmp_path / "coco" / "annotations.json").read_text())["images"]
                   if row["file_name"].endswith(caption.name))  # fmt: skip
        caption.with_suffix(".txt").write_text(row["caption"])
    again = write_recipe(tmp_path, tmp_path / "coco", "annotations.json")
    _, out, err = evenly("rebuild", again, "--root", tmp_path / "v", "--json")
    assert out, err
    assert exported(evenly, tmp_path / "v", json.loads(out)["build"], tmp_path / "second") == first

    assert evenly("export", build, "--to", "webdataset", "--root", root)[0] == 0
    (pair,) = json.loads(evenly("why", "2.png", "--root", root, "--json")[1])["pairs"]
    needles = [SECRET, pair["uid"]]
    before = search(root, needles)
    assert {name.split("/")[0] for name in before} >= {"features", "ledger", "exports", "samples"}
    status, out, _ = evenly("forget", pair["uid"], "--root", root, "--yes")
    assert (status, search(root, needles)) == (0, {})


def test_a_picture_of_regions_is_refused_where_there_are_none(photos, evenly, tmp_path):
    recipe = yaml.safe_load(photos.read_text())
    del recipe["curate"]["regions"]
    photos.write_text(yaml.safe_dump(recipe))
    assert evenly("rebuild", photos, "--root", tmp_path / "w")[0] == 0
    status, _, err = evenly("why", "2.png", "--root", tmp_path / "w", "--picture", tmp_path / "seen.png")
    assert (status, "Leave it out." in err) == (1, True)
    assert not (tmp_path / "seen.png").exists()
    status, _, err = evenly("why", "2.png", "--root", tmp_path / "w", "--picture", tmp_path / "seen.jpg")
    assert (status, "must end with .png" in err) == (2, True)


def test_things_that_nothing_looks_for_are_refused_before_anything_runs(photos, evenly, tmp_path):
    things = tmp_path / "things.txt"
    things.write_text("fox\n")
    status, _, err = evenly("regions", photos, "--root", tmp_path / "w", "--texts", things)
    assert (status, "Add --method" in err) == (2, True)
