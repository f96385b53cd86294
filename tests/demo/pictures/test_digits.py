import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from evenly.demo.errors import FolderError
from evenly.demo.pictures.digits import NAMES, SIDE_PX, draw_scan, make_digits, run_command_line
from evenly.storage.files.image_folders import read_image_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("digits") / "new" / "digits"
    assert sum(make_digits(made).values()) == 1797
    return made


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def test_it_is_a_folder_of_ten_classes_with_the_labels_of_the_data_set(folder):
    read = read_image_folder(folder)
    digits = load_digits()
    paths, labels = read.rows["path"].to_pylist(), read.rows["label"].to_pylist()
    by_position = {int(path[-8:-4]): label for path, label in zip(paths, labels, strict=True)}
    assert [by_position[position] for position in range(1797)] == [NAMES[digit] for digit in digits.target]
    assert len(set(read.rows["image_id"].to_pylist())) == 1797
    assert read.skipped == {"hidden": 1}


def test_a_picture_is_the_scan_black_on_white(folder):
    scan = load_digits().images[0]
    with Image.open(folder / "zero" / "0000.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (SIDE_PX, SIDE_PX))
        small = np.asarray(image.resize((10, 10), Image.Resampling.BOX)).astype(float)
    assert np.corrcoef(small[1:-1, 1:-1].ravel(), -scan.ravel())[0, 1] > 0.95
    assert small[0].min() > 200
    assert (small[1:-1, 1:-1] < 100).any()


@pytest.mark.parametrize(("ink", "shade"), [(0, 255), (16, 0)])
def test_paper_is_white_and_full_ink_black(ink, shade):
    with Image.open(io.BytesIO(draw_scan(np.full((8, 8), float(ink))))) as image:
        assert image.getpixel((SIDE_PX // 2, SIDE_PX // 2)) == shade
        assert image.getpixel((0, 0)) == 255


@pytest.mark.slow
def test_it_is_made_again_with_the_same_bytes_and_mends_what_a_killed_run_left(folder, tmp_path):
    make_digits(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "one" / "0001.png").write_bytes(b"half")
    (tmp_path / "two" / ".0002.png.123.part").write_bytes(b"half")
    (tmp_path / "nine" / "0009.png").unlink()
    make_digits(tmp_path)
    assert contents(tmp_path) == before == contents(folder)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name", ["thesis.tex", "zero/9999.png"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(FolderError, match=f"got `{name}` in"):
        make_digits(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


@pytest.mark.slow
def test_the_command_says_what_it_made(tmp_path):
    command = [sys.executable, "-m", "evenly.demo.pictures.digits", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1797 pictures of 10 classes in {tmp_path / 'out'}\n"


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["a", "b"], 2), (["/proc/no/such"], 1)])
def test_a_call_that_cannot_work_is_one_line(capsys, arguments, status):
    assert run_command_line(arguments) == status
    assert len(capsys.readouterr().err.splitlines()) == 1
