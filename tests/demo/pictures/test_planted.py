import csv
from collections import Counter

import pytest

from evenly.demo.errors import FolderError
from evenly.demo.pictures.planted import HEAD, LIST, RECIPE, TRUTH, make_planted_pool, plan_pairs
from evenly.flows.recipe import read_recipe


def rows_of(path):
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_shares_of_head_and_wrong_captions_are_as_said_and_no_wrong_one_is_of_the_same_class():
    pairs = plan_pairs(400, seed=3)
    label_of = {pair.code: pair.label for pair in pairs}
    wrong = [pair for pair in pairs if not pair.is_right]
    assert (len(pairs), len(wrong)) == (400, 120)
    assert Counter(pair.label for pair in pairs)[HEAD] == 100
    assert all(label_of[pair.caption_of] != pair.label for pair in wrong)
    assert sorted(pair.caption_of for pair in pairs) == sorted(label_of)
    assert plan_pairs(400, seed=3) == pairs != plan_pairs(400, seed=4)


def test_the_score_tells_right_captions_and_the_noise_does_not(tmp_path):
    assert make_planted_pool(tmp_path, count=40) == {"pairs": 40, HEAD: 10, "wrong captions": 12}
    listed, truth = rows_of(tmp_path / "pictures" / LIST), rows_of(tmp_path / TRUTH)
    assert [row["file_name"] for row in listed] == [row["file_name"] for row in truth]
    assert all((tmp_path / "pictures" / row["file_name"]).is_file() for row in listed)
    scores = {"True": [], "False": []}
    for row, true in zip(listed, truth, strict=True):
        scores[true["is_right"]].append(float(row["good_score"]))
    above = [right > wrong for right in scores["True"] for wrong in scores["False"]]
    assert sum(above) / len(above) > 0.8
    assert read_recipe(tmp_path / RECIPE).name == "planted"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    make_planted_pool(tmp_path, count=40)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(FolderError, match=r"metadata\.csv"):
        make_planted_pool(tmp_path, count=41)
