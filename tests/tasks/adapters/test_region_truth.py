"""The truth about regions, read from truth.parquet as scenes and grounds have it."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evenly.demo.scenes.truth import TRUTH_SCHEMA
from evenly.storage.errors import InputError
from evenly.tasks.adapters.region_truth import read_region_truth

CAT = np.zeros((6, 9), np.uint8)
CAT[1:4, 2:5] = 1
CAT[3:6, 4:9] = 2  # drawn over the cat
BIRD = np.zeros((4, 4), np.uint8)
BIRD[0, 0] = 1


def png(values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def drawn(thing, code, box, colour):
    return {"thing": thing, "code": code, "is_mirrored": False, "colour": colour, "pixels": 1} | dict(
        zip(("x0", "y0", "x1", "y1"), box, strict=True)
    )


def scene(owners, objects, names, **further):
    things = [{"name": name, "kinds": [kind] if kind else [], "count": 1} for name, kind in names]
    return {
        "sha256": f"{len(objects)}" * 64, "part": "test", "width": owners.shape[1], "height": owners.shape[0],
        "things": things, "objects": objects, "defects": [], "mask": png(owners), **further,
    }  # fmt: skip


ROWS = [
    scene(
        CAT, [drawn(1, "C", (2, 1, 5, 4), "red"), drawn(0, "D", (4, 3, 9, 6), None)], [("dog", "animal"), ("cat", "")],
        defects=[{"object": 1, "kind": "hole", "x0": 5, "y0": 4, "x1": 7, "y1": 5}],
    ),
    scene(BIRD, [drawn(0, "B", (0, 0, 1, 1), "blue")], [("bird", "animal")], part="val"),
]  # fmt: skip


def stored(folder, rows, **columns):
    folder.mkdir()
    table = pa.Table.from_pylist(rows, schema=TRUTH_SCHEMA)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, folder / "truth.parquet")
    return folder


def test_objects_are_read_with_their_pixels_and_groups(tmp_path):
    plain, ground = stored(tmp_path / "plain", ROWS), stored(tmp_path / "ground", ROWS[1:], group=["G"])
    truth = read_region_truth([plain, ground])
    assert (truth.parts.tolist(), truth.groups.tolist()) == (["test", "val", "val"], ["C", "B", "G"])
    assert truth.picture.tolist() == [0, 0, 1, 2]
    assert truth.sizes.tolist() == [[6, 9], [4, 4], [4, 4]]
    assert truth.labels.tolist() == ["cat", "dog", "bird", "bird"]
    assert truth.kinds.tolist() == ["", "animal", "animal", "animal"]
    assert truth.colours.tolist() == ["red", "", "blue", "blue"]
    assert truth.codes.tolist() == ["C", "D", "B", "B"]
    assert truth.boxes[1].tolist() == [4, 3, 9, 6]
    assert (truth.defects.tolist(), truth.defect_boxes.tolist()) == ([0], [[5, 4, 7, 5]])
    assert np.array_equal(truth.decode(truth.masks[0], 0), CAT == 1)
    assert not truth.decode("", 1).any()
    first, last = truth.maps(truth, ["bird", "dog"], np.array([0, 2]))
    assert np.array_equal(first, np.where(CAT == 2, 2, 0))
    assert np.array_equal(last, BIRD)


@pytest.mark.parametrize("rows", [None, [ROWS[1] | {"mask": png(CAT)}], [ROWS[1] | {"mask": b"nothing"}]])
def test_a_folder_without_truth_or_with_other_masks_is_refused(tmp_path, rows):
    folder = tmp_path / "scenes" if rows is None else stored(tmp_path / "scenes", rows)
    with pytest.raises(InputError, match="`folder` must hold a truth"):
        read_region_truth([folder])


def test_a_truth_without_masks_is_refused(tmp_path):
    folder = stored(tmp_path / "scenes", ROWS)
    pq.write_table(pq.read_table(folder / "truth.parquet").drop_columns("mask"), folder / "truth.parquet")
    with pytest.raises(InputError, match="mask"):
        read_region_truth([folder])
