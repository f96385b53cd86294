import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.features.dense.given import stated_regions
from evenly.storage.pools.rows import PoolError
from evenly.storage.pools.source import PoolSource, read_pool, source_hash
from tests.storage.held_pool import picture, write_files, write_tar

CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 8, "name": "cup"}]
ANNOTATIONS = [
    [
        {"bbox": [3, 2, 6, 3], "category_id": 3, "segmentation": [[3, 2, 9, 2, 9, 5, 3, 5]], "iscrowd": 0},
        {"bbox": [-4, 0, 8, 8], "category_id": 8, "score": 0.5, "attributes": ["red"]},
    ],
    [],
    [{"bbox": [90, 90, 4, 4], "category_id": 3}, {"bbox": [1, 1, 2, 2], "category_id": 8}],
]
NAMED = [
    [{"category": next(c["name"] for c in CATEGORIES if c["id"] == entry["category_id"]), **entry} for entry in entries]
    for entries in ANNOTATIONS
]
N = len(ANNOTATIONS)
COCO = {
    "images": [{"id": number, "file_name": f"{number}.png", "width": 24, "height": 24} for number in range(N)],
    "annotations": [entry | {"image_id": number} for number in range(N) for entry in ANNOTATIONS[number]],
    "categories": CATEGORIES,
}


def write_source(form, folder):
    """A pool of N pairs in that form: its source, and the column of its regions."""
    kind, _, kept = form.partition(" ")
    urls = [f"http://a.example/{number}.png" for number in range(N)]
    texts = [json.dumps(value) for value in NAMED]
    columns = {"url": urls, "file_name": [f"{number}.png" for number in range(N)], "caption": ["a"] * N}
    pictures = {f"{number}.png": picture(number) for number in range(N)}
    path = folder / (f"metadata.{kept}" if kind == "folder" and kept in ("csv", "jsonl", "parquet") else f"pool.{kind}")
    folder.mkdir()
    if "csv" in form:
        with path.open("w", newline="") as stream:
            csv.writer(stream).writerows([[*columns, "objects"], *zip(*columns.values(), texts, strict=True)])
    if "jsonl" in form:
        rows = [{name: column[row] for name, column in columns.items()} | {"objects": NAMED[row]} for row in range(N)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if "parquet" in form:
        pq.write_table(pa.table(columns | {"objects": texts if kept == "text" else NAMED}), path)
    if kind == "webdataset":
        texts = [json.dumps({"caption": "a", "objects": {"annotations": value, "categories": CATEGORIES}}).encode()
                 for value in ANNOTATIONS]  # fmt: skip
        write_tar(path, [part for number in range(N) for part in
                         ((f"{number}.png", picture(number)), (f"{number}.json", texts[number]))])  # fmt: skip
        return PoolSource(kind=kind, path=str(path)), "objects"
    if kind == "folder":
        write_files(folder, pictures)
        if kept == "beside":
            write_files(folder, {f"{number}.json": json.dumps({"caption": "a", "objects": NAMED[number]})
                                 for number in range(N)})  # fmt: skip
        if kept == "coco":
            write_files(folder, {f"{number}.txt": "a" for number in range(N)} | {"coco.json": json.dumps(COCO)})
            return PoolSource(kind=kind, path=str(folder), regions="coco.json"), "regions"
        return PoolSource(kind=kind, path=str(folder)), "objects"
    return PoolSource(kind=kind, path=str(path)), "objects"


FORMS = ["csv", "jsonl", "parquet text", "parquet structs", "webdataset", "folder csv", "folder jsonl",
         "folder parquet", "folder beside", "folder coco"]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_source_gives_the_same_regions(tmp_path, form):
    source, column = write_source(form, tmp_path / "pool")
    table = pa.concat_tables(read_pool(source), promote_options="permissive")
    assert table["reject"].to_pylist() == [None] * N
    regions = stated_regions(table[column].to_pylist(), [(24, 24)] * N, source=f"column:{column}")
    assert regions.picture.tolist() == [0, 0, 2, 2]
    assert regions.labels.tolist() == ["dog", "cup", "dog", "cup"]
    assert regions.phrases.tolist() == ["", "red cup", "", ""]
    assert regions.boxes[[0, 1, 3]].tolist() == [[3, 2, 9, 5], [0, 0, 4, 8], [1, 1, 3, 3]]
    assert regions.reasons.tolist() == ["", "", "outside", ""]
    assert [bool(mask) for mask in regions.masks] == [True, False, False, False]
    assert regions.scores[1] == 0.5


def test_a_file_of_annotations_may_lie_anywhere_in_the_folder(tmp_path):
    names = ["train/a.png", "val/a.png", "val/deep/b.png", "c.png"]
    write_files(tmp_path, {name: picture(seed) for seed, name in enumerate(names)})
    write_files(tmp_path, {"train/a.txt": "a", "val/a.txt": "b", "val/deep/b.txt": "c", "c.txt": "d"})
    images = [{"id": n, "file_name": name} for n, name in enumerate(["a.png", "b.png", "c.png", "train/a.png"])]
    coco = {"images": images, "annotations": [{"image_id": n, "bbox": [n, 0, 1, 1]} for n in range(4)]}
    boxes = {}
    for place in ("val", "notes"):
        write_files(tmp_path, {f"{place}/coco.json": json.dumps(coco)})
        (table,) = read_pool(PoolSource(kind="folder", path=str(tmp_path), regions=f"{place}/coco.json"))
        stored = zip(table["file_name"].to_pylist(), table["regions"].to_pylist(), strict=True)
        boxes[place] = {name: text and [entry["bbox"][0] for entry in json.loads(text)] for name, text in stored}
    assert boxes["val"] == {"train/a.png": [3], "val/a.png": [0], "val/deep/b.png": [1], "c.png": [2]}
    assert boxes["notes"] == {"train/a.png": [3], "val/a.png": None, "val/deep/b.png": [1], "c.png": [2], "a.png": None}


def test_annotations_without_a_picture_are_rows_with_a_reason(tmp_path):
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "../x.png"}, {"file_name": "a.png"}, "broken"]
    entries = [{"image_id": 1, "bbox": [0, 0, 1, 1]}, {"image_id": 7}, {}, [], {"image_id": 2}]
    coco = {"images": images, "annotations": entries, "categories": {"id": 1}}
    write_files(tmp_path, {"a.png": picture(1), "a.txt": "a", "coco.json": json.dumps(coco)})
    (table,) = read_pool(PoolSource(kind="folder", path=str(tmp_path), regions="coco.json"))
    rows = sorted(zip(table["file_name"].to_pylist(), map(str, table["reject"].to_pylist()), strict=True))
    assert rows == [*[("", "bad_annotation")] * 5, ("../x.png", "missing_picture"), ("a.png", "None")]


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"images": []}', '{"images": {}, "annotations": []}', "[" * 99_999]
)
def test_what_is_no_file_of_annotations_is_refused_by_name(tmp_path, content):
    write_files(tmp_path, {"a.png": picture(1), "a.txt": "a", "coco.json": content})
    with pytest.raises(PoolError, match=r"coco\.json"):
        list(read_pool(PoolSource(kind="folder", path=str(tmp_path), regions="coco.json")))


@pytest.mark.parametrize("name", ["none.json", "../out.json", "a.txt", "/etc/passwd"])
def test_a_file_of_annotations_lies_in_its_folder(tmp_path, name):
    write_files(tmp_path, {"pool/a.png": picture(1), "pool/a.txt": "a", "out.json": json.dumps(COCO)})
    with pytest.raises(PoolError, match=r"`regions` must be a \.json file inside the folder"):
        list(read_pool(PoolSource(kind="folder", path=str(tmp_path / "pool"), regions=name)))


def test_another_column_of_that_name_is_refused(tmp_path):
    write_files(tmp_path, {"0.png": picture(1), "coco.json": json.dumps(COCO)})
    for list_of in ({"0.json": '{"caption": "a", "regions": 7}'},
                    {"metadata.csv": "file_name,caption,regions\n0.png,a,b\n"}):  # fmt: skip
        write_files(tmp_path, list_of)
        with pytest.raises(PoolError, match="`regions` must be all that gives the column"):
            list(read_pool(PoolSource(kind="folder", path=str(tmp_path), regions="coco.json")))


def test_a_changed_annotation_changes_the_hash_of_its_source(tmp_path):
    write_files(tmp_path, {"0.png": picture(1), "0.txt": "a", "coco.json": json.dumps(COCO)})
    source = PoolSource(kind="folder", path=str(tmp_path), regions="coco.json")
    first = source_hash(source)
    assert first != source_hash(PoolSource(kind="folder", path=str(tmp_path)))
    write_files(tmp_path, {"coco.json": json.dumps(COCO | {"annotations": []})})
    assert source_hash(source) != first
