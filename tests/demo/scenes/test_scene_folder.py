import csv
import hashlib
import io
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evenly.demo.draws import DEMO_SEED
from evenly.demo.errors import FolderError
from evenly.demo.scenes.catalogue import PARTS, read_things, things_of
from evenly.demo.scenes.folder import (
    CLASSES,
    LIST,
    SEVERAL,
    SPLIT,
    THINGS,
    TRUTH,
    TRUTH_SCHEMA,
    make_scene_folder,
)
from evenly.demo.scenes.layout import HEIGHT_PX, WIDTH_PX, Box, box_of, relations_between
from evenly.demo.scenes.plans import CAPTION_KINDS
from evenly.demo.scenes.scores import facts_of, score_caption
from evenly.flows.cli.datasets.demo import COMMANDS, demo_command
from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe.pools.detection import detect_source
from evenly.storage.pools.folders import folder_rows

N = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("scenes") / "folder"
    make_scene_folder(place, count=N)
    return place


@pytest.fixture(scope="module")
def rows(folder):
    return pq.read_table(folder / TRUTH).to_pylist()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_csv(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_the_same_bytes_twice_and_scenes_do_not_depend_on_the_count(folder, rows, tmp_path):
    make_scene_folder(tmp_path / "few", count=40)
    few = contents(tmp_path / "few")
    assert {name: content for name, content in few.items() if name.endswith(".png")}.items() <= contents(folder).items()
    assert pq.read_table(tmp_path / "few" / TRUTH).to_pylist() == rows[:40]
    make_scene_folder(tmp_path / "twice", count=40)
    assert contents(tmp_path / "twice") == few


def test_a_folder_grows_shrinks_and_is_mended(tmp_path):
    make_scene_folder(tmp_path, count=6)
    whole = contents(tmp_path)
    make_scene_folder(tmp_path, count=9)
    (tmp_path / "pictures" / "000002.png").write_bytes(b"cut")
    (tmp_path / TRUTH).unlink()
    make_scene_folder(tmp_path, count=6)
    assert contents(tmp_path) == whole


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"must be empty or hold scenes; got .* with 'thesis.txt'"):
        make_scene_folder(tmp_path, count=2)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_folder_is_a_pool_whose_reader_takes_every_scene_and_nothing_else(folder, rows):
    source = detect_source(folder)
    assert (source.kind, source.group, source.classes) == ("folder", "group", False)
    read = list(folder_rows(folder, None))
    assert [row.reject for row in read] == [""] * N
    assert [(row.file_name, row.caption) for row in read] == [(row["file_name"], row["caption"]) for row in rows]


def test_the_pool_tells_nothing_of_the_truth_but_classes(folder, rows):
    listed = read_csv(folder / LIST)
    assert set(listed[0]) == {"file_name", "caption", "label", "group"}
    for row, truth in zip(listed, rows, strict=True):
        is_single = len(truth["objects"]) == 1
        assert row["label"] in ({truth["things"][0]["name"], ""} if is_single else {SEVERAL})
        assert row["label"] or truth["part"] == "train"
        assert row["group"] == (truth["objects"][0]["code"] if is_single else "")
    labels = Counter(row["label"] for row in listed)
    assert labels[""] > 5
    assert set(labels) - {"", SEVERAL} <= set((folder / CLASSES).read_text().split("\n"))
    assert (folder / THINGS).read_text().splitlines() == list(read_things())


def test_the_split_file_names_the_part_of_each_picture_by_its_bytes(folder, rows):
    parts = {row["key"]: row["part"] for row in read_csv(folder / SPLIT)}
    for row in rows:
        content = (folder / row["file_name"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert parts[f"sha256:{row['sha256']}"] == row["part"]
    seen = {part: {item["code"] for row in rows if row["part"] == part for item in row["objects"]} for part in PARTS}
    assert all(seen.values())
    for part, codes in seen.items():
        assert codes <= {code for of_thing in things_of(part, DEMO_SEED).values() for code in of_thing}


def test_the_truth_agrees_with_its_masks_and_boxes(rows):
    for row in rows:
        with Image.open(io.BytesIO(row["mask"])) as opened:
            mask = np.asarray(opened)
        assert mask.shape == (row["height"], row["width"]) == (HEIGHT_PX, WIDTH_PX)
        boxes = [[] for _ in row["things"]]
        for place, item in enumerate(row["objects"], 1):
            box = Box(item["x0"], item["y0"], item["x1"], item["y1"])
            assert box == box_of(mask == place)
            boxes[item["thing"]].append(box)
        assert [len(of_thing) for of_thing in boxes] == [thing["count"] for thing in row["things"]]
        told = [(one["subject"], one["relation"], one["object"]) for one in row["relations"]]
        assert told == relations_between(boxes)


def test_captions_have_their_kinds_and_the_scores_say_the_same(rows):
    kinds = Counter(row["caption_kind"] for row in rows)
    assert kinds.keys() == CAPTION_KINDS.keys()
    for row in rows:
        facts = facts_of(row)
        score = score_caption(row["caption"], facts)
        right = score_caption(row["long_caption"], facts)
        assert not right.has_error
        assert right.recall == 1
        assert (row["wrong_kind"] is not None) == (row["caption_kind"] == "wrong") == score.has_error
        assert (score.recall == 1) == (
            row["caption_kind"] == "right" or row["wrong_kind"] in {"colour", "relation", "count"}
        )
        if row["caption_kind"] in {"vague", "boilerplate"}:
            assert score.named == ()
        for wrong in row["wrong_captions"]:
            assert score_caption(wrong["caption"], facts).has_error


def test_people_have_gender_and_skin_tone_in_the_truth(rows):
    people = [item for row in rows for item in row["objects"] if row["things"][item["thing"]]["kinds"] == ["person"]]
    assert {item["gender"] for item in people} == {"man", "woman"}
    assert len({item["skin_tone"] for item in people}) > 3


def test_the_truth_has_its_schema(folder):
    assert pq.read_schema(folder / TRUTH).equals(TRUTH_SCHEMA)


def test_the_command_draws_scenes_and_refuses_what_it_would_ignore(tmp_path, capsys):
    COMMANDS["demo"](scenes=tmp_path / "scenes", count=3)
    assert "3 scenes in" in capsys.readouterr().out
    assert len(list((tmp_path / "scenes" / "pictures").iterdir())) == 3
    with pytest.raises(UsageError, match="`--scenes` must come alone"):
        demo_command(scenes=tmp_path / "other", root=tmp_path)
    with pytest.raises(UsageError, match="`--pictures` must come alone"):
        demo_command(scenes=tmp_path / "other", pictures=tmp_path / "third")
    with pytest.raises(UsageError, match="`--count` must come with --scenes"):
        demo_command(count=3)
    assert not (tmp_path / "other").exists()
