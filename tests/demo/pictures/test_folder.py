import csv

import pytest

from evenly.demo.errors import FolderError
from evenly.demo.labels import class_labels
from evenly.demo.pictures.folder import CAPTIONS, CLASSES, make_picture_folder
from evenly.flows.cli.datasets.demo import demo_command
from evenly.flows.cli.errors import UsageError

CODES = ["1F415", "1F404", "1F697", "1F3E0", "1F97B"]


def test_pictures_lie_by_class_with_captions_and_the_class_list(tmp_path):
    counts = make_picture_folder(tmp_path / "pictures", codes=CODES)
    labels = class_labels()
    with (tmp_path / "pictures" / CAPTIONS).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert counts == {"building": 1, "clothing": 1, "mammal": 2, "motor vehicle": 1}
    assert {row["file_name"] for row in rows} == {f"{labels[code][0]}/{code}.png" for code in CODES}
    assert all((tmp_path / "pictures" / row["file_name"]).is_file() for row in rows)
    assert all("{" not in row["caption"] and len(row["caption"].split()) > 2 for row in rows)
    listed = {line.split("\t")[0] for line in (tmp_path / "pictures" / CLASSES).read_text().splitlines()}
    assert set(counts) <= listed


def test_what_was_drawn_is_kept_and_the_rest_drawn(tmp_path):
    make_picture_folder(tmp_path, codes=CODES)
    (tmp_path / "mammal" / "1F415.png").write_bytes(b"kept")
    (tmp_path / "mammal" / "1F404.png").unlink()
    assert make_picture_folder(tmp_path, codes=CODES)["mammal"] == 2
    assert (tmp_path / "mammal" / "1F415.png").read_bytes() == b"kept"
    assert (tmp_path / "mammal" / "1F404.png").stat().st_size > 100


def test_a_folder_with_captions_of_its_own_is_left_alone(tmp_path):
    (tmp_path / CAPTIONS).write_text("file_name,caption\nmine.png,mine\n")
    with pytest.raises(FolderError, match=r"metadata\.csv"):
        make_picture_folder(tmp_path, codes=CODES)
    assert [path.name for path in tmp_path.iterdir()] == [CAPTIONS]


def test_a_folder_of_pictures_and_a_job_are_not_asked_for_at_once(tmp_path):
    with pytest.raises(UsageError, match="must come alone"):
        demo_command(pictures=tmp_path / "pictures", root=tmp_path)
    assert list(tmp_path.iterdir()) == []
