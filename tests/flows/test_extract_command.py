"""`evenly extract --images`: a folder of classes becomes a file of features, with a small random encoder made here."""

import hashlib
import json

import numpy as np
import pytest

from evenly.demo.pictures.digits import NAMES
from evenly.features.encoders.stages import STAGES
from evenly.storage.files.arrays import read_arrays

MODEL = "tiny-for-commands"


@pytest.fixture
def extract(evenly, tiny_weights, digit_pictures, tmp_path):
    """Extract the digits to `tmp_path / "a.npz"`: (exit status, facts or None, stderr)."""

    def run(*options, images=digit_pictures):
        model = [] if "--model" in options else ["--model", MODEL]
        place = ["--pretrained", tiny_weights, "--out", tmp_path / "a.npz", "--root", tmp_path / "w", "--json"]
        status, out, err = evenly("extract", "--images", images, *model, *options, *place)
        return status, json.loads(out) if status == 0 else None, err

    return run


def test_the_file_names_the_encoders_the_classes_and_every_picture_once(
    extract, tiny_weights, digit_pictures, tmp_path
):
    _, found, _ = extract("--second", MODEL, "--second-pretrained", tiny_weights)
    arrays = read_arrays(tmp_path / "a.npz")
    assert arrays["encoder"].tolist() == [MODEL, str(tiny_weights), found["encoder"]]
    assert arrays["aux_encoder"][:2].tolist() == [MODEL, str(tiny_weights)]
    assert arrays["classes"].tolist() == sorted(NAMES)
    groups = np.concatenate([arrays[f"{part}_groups"] for part in ("train", "val", "test")])
    assert sorted(groups) == sorted(
        hashlib.sha256(one.read_bytes()).hexdigest() for one in digit_pictures.rglob("*.png")
    )


def test_a_split_and_a_class_list_are_followed_and_the_rest_is_counted(extract, digit_pictures, tmp_path):
    names = [path.relative_to(digit_pictures).as_posix() for path in sorted(digit_pictures.rglob("*.png"))]
    lines = [f"{name},{('train', 'val', 'test')[at % 3]},{name[:2]}{at % 3}\n" for at, name in enumerate(names)]
    (tmp_path / "split.csv").write_text("key,part,group\n" + "".join(lines))
    (tmp_path / "classes.txt").write_text("two\none\n")
    status, found, err = extract("--split", tmp_path / "split.csv", "--classes", tmp_path / "classes.txt")
    assert status == 0, err
    n = len([name for name in names if name.startswith(("one/", "two/"))])
    assert sum(found[part] for part in ("train", "val", "test")) == n
    assert found["skipped"] == {"not_in_classes": 120 - n}
    arrays = read_arrays(tmp_path / "a.npz")
    assert arrays["classes"].tolist() == ["two", "one"]
    assert set(arrays["test_groups"]) == {"on2", "tw2"}


def test_texts_of_a_described_class_list_go_into_the_file(extract, evenly, tmp_path):
    (tmp_path / "classes.txt").write_text("two\none\n")
    chosen = ("--classes", tmp_path / "classes.txt")
    _, found, _ = extract(*chosen)
    assert found["class_texts"] == 0
    assert any("evenly describe" in note for note in found["notes"])
    (tmp_path / "texts.csv").write_text("class,method,phrase\none,description,a stroke\ntwo,description,a swan\n")
    assert evenly("descriptions", "import", tmp_path / "texts.csv", *chosen, "--root", tmp_path / "w")[0] == 0
    _, found, _ = extract(*chosen)
    arrays = read_arrays(tmp_path / "a.npz")
    assert (found["class_texts"], arrays["class_text_labels"].tolist()) == (2, [0, 1])
    assert len(arrays["descriptor_texts"]) == 2


def test_pictures_that_do_not_decode_are_counted_and_left_out(extract, digit_pictures, tmp_path):
    folder = tmp_path / "f"
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for path in sorted((digit_pictures / name).iterdir())[:5]:
            (folder / name / path.name).write_bytes(path.read_bytes())
        (folder / name / "a broken.png").write_bytes(b"\x89PNG but not really")
    (folder / "one" / "empty.png").touch()
    _, found, _ = extract(images=folder)
    assert sum(found[part] for part in ("train", "val", "test")) == 10
    assert sum(found["skipped"].values()) == 3
    labels = np.concatenate([read_arrays(tmp_path / "a.npz")[f"{part}_labels"] for part in ("train", "val", "test")])
    assert sorted(labels) == [0] * 5 + [1] * 5


def test_a_profile_says_what_limits_and_leaves_the_file_as_it_is(
    extract, evenly, tiny_weights, digit_pictures, tmp_path
):
    extract()
    plain = (tmp_path / "a.npz").read_bytes()
    _, found, _ = extract("--profile")
    assert (tmp_path / "a.npz").read_bytes() == plain
    profile = found["profile"]
    assert (profile["pictures"], profile["limit"] in STAGES) == (120, True)
    assert [row["stage"] for row in profile["stages"]] == list(STAGES)
    assert all(row["seconds"] >= 0 and 0 <= row["busy"] <= 1.01 for row in profile["stages"])
    options = ("--model", MODEL, "--pretrained", tiny_weights, "--out", tmp_path / "a.npz", "--root", tmp_path / "w")
    _, out, _ = evenly("extract", "--images", digit_pictures, *options, "--profile")
    assert "seconds of work" in out
    assert "is what limits it" in out


def test_a_folder_where_nothing_decodes_is_an_error(extract, tmp_path):
    (tmp_path / "f" / "one").mkdir(parents=True)
    (tmp_path / "f" / "one" / "a.png").write_bytes(b"\x89PNG but not really")
    status, _, err = extract(images=tmp_path / "f")
    assert status == 2
    assert "must hold pictures that decode; got none of 1" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--template", "a digit"], "must hold {} for the name of the class"),
        (["--model", "tiny-for-comands"], "tiny-for-commands"),
        (["--split", "split.csv"], "`--split` must name pictures of `--images`; got `x.png`"),
        (["--classes", "classes.txt"], "must name folders of `--images`; got `ten`"),
    ],
)
def test_what_cannot_be_is_named(extract, tmp_path, options, words):
    (tmp_path / "split.csv").write_text("key,part\nx.png,train\n")
    (tmp_path / "classes.txt").write_text("one\nten\n")
    status, _, err = extract(*(tmp_path / one if "." in one else one for one in options))
    assert status == 2
    assert words in err
    assert not (tmp_path / "a.npz").exists()
