import hashlib
import io
import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evenly.demo.errors import FolderError
from evenly.demo.ground import folder as ground_folder
from evenly.demo.ground.classes import PARTS
from evenly.demo.ground.folder import GROUND_SCHEMA, make_ground
from evenly.demo.scenes.layout import box_of
from evenly.flows.cli.datasets.demo import demo_command
from evenly.flows.cli.errors import UsageError

pytestmark = pytest.mark.usefixtures("few_classes")


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    place = tmp_path_factory.mktemp("ground") / "folder"
    make_ground(place)
    return place


@pytest.fixture(scope="module")
def rows(ground):
    tables = {part: pq.read_table(ground / part / "truth.parquet") for part in PARTS}
    assert all(table.schema.equals(GROUND_SCHEMA) for table in tables.values())
    return [row | {"place": ground / part / row["file_name"]} for part in PARTS for row in tables[part].to_pylist()]


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pictures_are_as_the_truth_says(rows):
    for row in rows:
        png = row["place"].read_bytes()
        assert row["sha256"] == hashlib.sha256(png).hexdigest()
        with Image.open(io.BytesIO(png)) as picture, Image.open(io.BytesIO(row["mask"])) as mask:
            assert picture.size == mask.size == (row["width"], row["height"]) == (224, 224)
            owners = np.asarray(mask)
        for number, item in enumerate(row["objects"], 1):
            box = box_of(owners == number)
            assert box == tuple(item[side] for side in ("x0", "y0", "x1", "y1"))
            assert max(box.width, box.height) >= 80 or row["defects"]
            assert item["pixels"] == (owners == number).sum()
        assert len(row["objects"]) == sum(thing["count"] for thing in row["things"])
        if row["kind"] == "pair":
            assert row["relations"]


def test_lists_have_a_row_for_each_picture_and_the_split_none_of_refine(ground, rows):
    summary = json.loads((ground / "ground.json").read_bytes())
    for part in PARTS:
        listed = (ground / part / "metadata.csv").read_text().splitlines()[1:]
        of_part = [row for row in rows if row["part"] == part]
        assert len(listed) == len(of_part) == summary["parts"][part]["pictures"]
        kinds = Counter(row["kind"] for row in of_part)
        assert kinds["texture"] == 4 * kinds["white"] == 4 * kinds["pair"]
    keys = {line.split(",")[0] for line in (ground / "split.csv").read_text().splitlines()[1:]}
    assert keys == {f"sha256:{row['sha256']}" for row in rows if row["part"] != "refine"}
    assert "Attribution-ShareAlike" in (ground / "licences" / "openmoji.txt").read_text()
    assert not [path for path in ground.iterdir() if path.name == ".rows"]


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(ground, tmp_path, monkeypatch):
    monkeypatch.setattr(ground_folder, "_PIECE", 16)
    drawn, draw = [], ground_folder._draw

    def killed(plan, *, folder):
        if len(drawn) == 40:
            raise KeyboardInterrupt
        drawn.append(plan.number)
        return draw(plan, folder=folder)

    monkeypatch.setattr(ground_folder, "_draw", killed)
    with pytest.raises(KeyboardInterrupt):
        make_ground(tmp_path / "again")
    monkeypatch.setattr(
        ground_folder, "_draw", lambda plan, *, folder: drawn.append(plan.number) or draw(plan, folder=folder)
    )
    make_ground(tmp_path / "again")
    assert content(tmp_path / "again") == content(ground)
    assert len(drawn) - len(set(drawn)) == 40 - 32  # pieces of 16 that were whole are not drawn again
    del drawn[:]
    make_ground(tmp_path / "again")
    assert not drawn


def test_other_settings_and_other_things_are_refused(ground, tmp_path):
    with pytest.raises(FolderError, match="must hold a ground of the same settings"):
        make_ground(ground, seed=1)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"must be empty or hold a proving ground; got .* with 'thesis.txt'"):
        make_ground(tmp_path)


def test_a_lost_picture_is_drawn_again(ground, rows):
    before = content(ground)
    rows[7]["place"].unlink()
    make_ground(ground)
    assert content(ground) == before


def test_the_command_draws_and_refuses_what_it_would_ignore(tmp_path):
    result = demo_command(ground=tmp_path / "ground", draw_only=True)
    assert result["ground"]["parts"]["test"]["classes"] == 3
    assert result["bytes"] == sum(len(value) for value in content(tmp_path / "ground").values())
    with pytest.raises(UsageError, match="`--ground` must come alone or with --hands, --codes"):
        demo_command(ground=tmp_path / "ground", count=3)
    with pytest.raises(UsageError, match="`--codes` must come with --ground"):
        demo_command(codes=300)
