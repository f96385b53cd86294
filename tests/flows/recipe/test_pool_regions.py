"""Boxes of a folder that `evenly check` counts before a rebuild, and says what is wrong with them."""

import json

import pytest
import yaml
from PIL import Image

BOXES = {0: [[50, 40, 30, 20], [2, 2, 30, 20]], 1: [[5, 5, 40, 30]]}
NAMES = {1: "owl", 2: "fox"}


@pytest.fixture
def checked(evenly, tmp_path, monkeypatch):
    """Checks a recipe over three pictures of 90 x 70 with boxes of two: exit status, and all that is printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (90, 70), "red").save(tmp_path / "photos" / f"{number}.png")
        (tmp_path / "photos" / f"{number}.txt").write_text("a bird")
    (tmp_path / "things.txt").write_text("owl\nfox\n")

    def check(*, name="{}.png", boxes=BOXES, column="regions", file="boxes.json"):
        images = [{"id": number, "file_name": name.format(number)} for number in boxes]
        entries = [
            {"image_id": number, "bbox": box, "category_id": 1 + place}
            for number, listed in boxes.items()
            for place, box in enumerate(listed)
        ]
        categories = [{"id": number, "name": label} for number, label in NAMES.items()]
        content = {"images": images, "annotations": entries, "categories": categories}
        (tmp_path / "photos" / "boxes.json").write_text(json.dumps(content))
        curate = {"match": {"metadata": "things.txt", "texts": "regions"}, "download": {},
                  "regions": {"method": None, "boxes": column}}  # fmt: skip
        source = {"kind": "folder", "path": "photos", "regions": file}
        (tmp_path / "r.yaml").write_text(
            yaml.safe_dump({"name": "r", "seed": 1, "sources": [source], "curate": curate})
        )
        status, out, err = evenly("check", "r.yaml")
        return status, out + err

    return check


def test_check_counts_the_regions_of_a_column_and_the_pictures_that_have_some(checked):
    status, text = checked()
    assert status == 0
    assert "  regions: 3 in the column `regions` of 2 of 3 pictures\n" in text
    assert "warning" not in text


def test_check_says_of_corners_under_bbox_that_boxes_end_outside_their_picture(checked):
    corners = {number: [[x, y, x + w, y + h] for x, y, w, h in boxes] for number, boxes in BOXES.items()}
    _, text = checked(boxes=corners)
    assert "warning: 1 boxes end outside their picture, and are cut at its edge: a `bbox` is x, y, width, hei" in text
    turned = {0: [[0, 0, 70, 90]], 1: [[0, 0, 91, 70]]}  # a picture by its tag upright; rounded by a pixel
    assert "end outside" not in checked(boxes=turned)[1]
    assert "do not count: not_a_box 1, outside 1" in checked(boxes={0: [[0, 0, 0, 9]], 1: [[95, 5, 9, 9]]})[1]


def test_check_says_which_labels_are_not_listed_and_which_things_label_nothing(checked, tmp_path):
    (tmp_path / "things.txt").write_text("owl\nfxo\n")
    _, text = checked()
    (tmp_path / "things.txt").write_text("owl\nfox\n")
    assert "warning: labels of regions that `match.metadata` does not list: fox 1\n" in text
    assert "warning: concepts of `match.metadata` that label no region here: fxo\n" in text


def test_check_counts_pictures_of_another_folder_and_refuses_a_file_or_column_that_is_not_there(checked):
    status, text = checked(name="other/{}.png")
    assert (status, "missing_picture 2" in text, "of 0 of 3 pictures" in text) == (0, True, True)
    status, text = checked(column="region")
    assert status == 2
    assert "`curate.regions.boxes` must be a column of a pool; got `region`, which none has." in text
    status, text = checked(file="box.json")
    assert status == 2
    assert "`regions` must be a .json file inside the folder" in text
