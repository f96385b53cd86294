"""COCO: an export that pycocotools loads, with the boxes and masks that it was given on the upright picture."""

import hashlib
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pycocotools.coco import COCO

from evenly.storage.exports import EXPORTS
from evenly.storage.exports.content import REGION

EMPTY = {"mask": "", "label": "", "phrase": "", "score": None, "source": "column:boxes"}


def picture(orientation):
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (60, 40), (30 * orientation, 0, 0)).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


PICTURES = {hashlib.sha256(data).hexdigest(): data for data in map(picture, (1, 6, 3))}


def export(folder, regions):
    columns = {"uid": [f"{number:032x}" for number in range(3)], "caption": ["a robin", None, "two"]}
    columns |= {"image_id": list(PICTURES), "group": ["g", "g", None]}
    rows = pa.table(columns | {"regions": regions})
    return EXPORTS["coco"](rows, folder, read_bytes=lambda ids: map(PICTURES.get, ids), name="b-1", seed=1)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_pycocotools_loads_boxes_masks_and_categories_of_upright_pictures(tmp_path):
    from evenly.features.dense.regions import encoded_mask

    mask = np.zeros((60, 40), np.bool_)  # upright: the second picture lies on its side in its file
    mask[10:30, 5:25] = True
    robin = EMPTY | {"box": [5.0, 10.0, 25.0, 30.0], "area": 400.0, "mask": encoded_mask(mask), "label": "robin"}
    named = EMPTY | {"box": [0.0, 0.0, 10.25, 4.0], "area": 41.0, "label": "<b>", "score": 0.5, "phrase": "a red one"}
    bare = EMPTY | {"box": [0.0, 0.0, 1.0, 1.0], "area": 1.0}
    summary = export(tmp_path / "out", pa.array([[], [robin, named], [bare, robin]], pa.list_(REGION)))
    assert summary.counts == {"pairs": 3, "annotations": 4, "categories": 3, "pictures_jpg": 3}
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["", "<b>", "robin"]
    images = coco.loadImgs([1, 2, 3])
    assert [(image["uid"], image["width"], image["height"]) for image in images] == [
        (f"{0:032x}", 60, 40), (f"{1:032x}", 40, 60), (f"{2:032x}", 60, 40),
    ]  # fmt: skip
    assert [image.get("group") for image in images] == ["g", "g", None]
    for image, data in zip(images, PICTURES.values(), strict=True):
        assert (tmp_path / "out" / "images" / image["file_name"]).read_bytes() == data
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert (coco.annToMask(first) == mask).all()
    assert (first["bbox"], first["area"], first["iscrowd"]) == ([5, 10, 20, 20], 400, 0)
    assert (second["bbox"], second["score"], second["phrase"]) == ([0, 0, 10.25, 4], 0.5, "a red one")
    assert second["segmentation"] == []


def test_attributes_are_written_so_that_a_source_reads_them_again(tmp_path):
    from evenly.features.dense.given import region_entries

    kind = pa.struct([*REGION, ("attributes", pa.list_(pa.string())), ("attribute_scores", pa.list_(pa.float64()))])
    bare = EMPTY | {"box": [0.0, 0.0, 4.0, 4.0], "area": 16.0, "attributes": [], "attribute_scores": []}
    red = bare | {"attributes": ["red", "wet"], "attribute_scores": [1.0, 0.75]}
    export(tmp_path / "out", pa.array([[], [red, bare], []], pa.list_(kind)))
    annotations = json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]
    assert [annotation.get("attribute_scores") for annotation in annotations] == [[1.0, 0.75], None]
    assert [entry.get("attributes") for entry in region_entries(annotations, (60, 40))] == [{"red": 1, "wet": 1}, None]


def test_a_pools_own_column_of_that_name_gives_no_annotations(tmp_path):
    assert export(tmp_path / "out", pa.array(['[{"bbox": 1}]'] * 3)).counts["annotations"] == 0
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert (len(content["images"]), content["annotations"], content["categories"]) == (3, [], [])
