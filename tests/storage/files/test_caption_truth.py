"""The truth about captions beside a folder of pictures; the file comes from anybody."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evenly.demo.scenes.folder import make_scene_folder
from evenly.storage.errors import InputError
from evenly.storage.files.caption_truth import TRUTH_FILE, read_caption_truth

ROW = {
    "sha256": "ab",
    "short_caption": "a red dog",
    "long_caption": "It is a red dog.",
    "wrong_captions": [{"kind": "colour", "caption": "a blue dog"}, {"kind": "count", "caption": "a red dog"}],
    "defects": [{"kind": "missing_part"}],
}


def write(folder, *rows):
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / TRUTH_FILE)
    return folder / TRUTH_FILE


def test_right_and_wrong_captions_differ_and_defects_are_said(tmp_path):
    bare = {"sha256": "cd", "short_caption": "a cat"}
    truth = read_caption_truth(write(tmp_path, ROW, bare, {**bare, "short_caption": "a cow"}), {"ab", "cd", "ef"})
    assert set(truth) == {"ab", "cd"}
    assert truth["ab"].wrong["colour"] == ("a red dog", "a blue dog")
    right, wrong = truth["ab"].wrong["defect"]
    assert right == "a red dog, with a missing part"
    assert wrong in {"a red dog, with a hole", "a red dog, with a scratch"}
    assert set(truth["ab"].wrong) == {"colour", "defect"}
    assert truth["ab"].long == "It is a red dog."
    assert (truth["cd"].wrong, truth["cd"].long) == ({}, "")
    assert not read_caption_truth(tmp_path / TRUTH_FILE, set())


@pytest.mark.parametrize(
    "changed",
    [
        {"short_caption": 3},
        {"long_caption": [1]},
        {"wrong_captions": ["a blue dog"]},
        {"wrong_captions": [{"kind": 1, "caption": "a"}]},
        {"wrong_captions": 7},
        {"defects": [{"name": "hole"}]},
        {"sha256": [1]},
    ],
    ids=str,
)
def test_columns_of_other_types_are_refused_by_name(tmp_path, changed):
    path = write(tmp_path, ROW | changed)
    with pytest.raises(InputError, match=TRUTH_FILE):
        read_caption_truth(path, {"ab"})


def test_a_file_without_captions_and_one_that_is_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="it has no `short_caption`"):
        read_caption_truth(write(tmp_path, {"sha256": "ab"}), {"ab"})
    (tmp_path / TRUTH_FILE).write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="must be a Parquet file"):
        read_caption_truth(tmp_path / TRUTH_FILE, {"ab"})


def test_scenes_have_it(tmp_path):
    make_scene_folder(tmp_path, count=8)
    digests = pq.read_table(tmp_path / TRUTH_FILE)["sha256"].to_pylist()
    truth = read_caption_truth(tmp_path / TRUTH_FILE, set(digests))
    assert len(truth) == len(set(digests))
    kinds = {kind for known in truth.values() for kind in known.wrong}
    assert {"colour", "count", "object", "relation"} <= kinds
    assert all(len(known.long.split(".")) > 30 for known in truth.values())
