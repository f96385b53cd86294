import hashlib
import io
import os
import sys
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evenly.storage.errors import InputError
from evenly.storage.files.image_folders import Picture, read_image_folder, read_picture, read_pictures


def png(shade=0):
    stream = io.BytesIO()
    Image.new("L", (4, 4), shade).save(stream, "PNG")
    return stream.getvalue()


def fill(folder, *names):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return folder


def paths(folder, **options):
    return read_image_folder(folder, **options).rows["path"].to_pylist()


def parquet(path, /, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_rows_have_path_label_and_hash_sorted_by_path(tmp_path):
    fill(tmp_path, "dog/b.png", "cat/x.JPEG", "dog/a.webp", "dog/more/deep.png", "Ümlaut sp ace/é.jpg")
    read = read_image_folder(tmp_path)
    assert read.rows.column_names == ["path", "label", "image_id"]
    assert read.rows["path"].to_pylist() == [
        "cat/x.JPEG", "dog/a.webp", "dog/b.png", "dog/more/deep.png", "Ümlaut sp ace/é.jpg",
    ]  # fmt: skip
    assert read.rows["label"].to_pylist() == ["cat", "dog", "dog", "dog", "Ümlaut sp ace"]
    assert read.rows["image_id"][0].as_py() == hashlib.sha256(png(1)).hexdigest()
    assert read.skipped == {}


def test_what_is_skipped_is_counted_by_reason(tmp_path):
    fill(
        tmp_path, "dog/a.png", "dog/.hidden.png", ".cache/a.png", "b.png", "dog/readme.txt", "dog/noending", "dog/x.svg"
    )
    (tmp_path / "dog" / "empty.png").touch()
    (tmp_path / "dog" / "large.png").write_bytes(bytes(2000))
    (tmp_path / "dog" / "folder.png").mkdir()
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    (tmp_path / "dog" / "broken.png").symlink_to(tmp_path / "absent.png")
    (tmp_path / "again").symlink_to(tmp_path / "dog")
    read = read_image_folder(tmp_path, limit_bytes=1000)
    assert read.rows["path"].to_pylist() == ["dog/a.png"]
    assert read.skipped == {
        "empty": 1, "hidden": 2, "linked_folder": 1, "missing": 1, "no_class": 1, "not_a_file": 1, "not_an_image": 3,
        "too_large": 1,
    }  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_counted(tmp_path):
    fill(tmp_path, "dog/a.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/dog/\xff.png")).write_bytes(png())
    assert read_image_folder(tmp_path).skipped == {"bad_name": 1}


def test_a_link_that_stays_inside_is_a_picture(tmp_path):
    fill(tmp_path, "dog/a.png")
    (tmp_path / "dog" / "b.png").symlink_to("a.png")
    assert paths(tmp_path) == ["dog/a.png", "dog/b.png"]


@pytest.mark.parametrize("target", ["secret.png", "absent.png", "secrets", "folder2/x.png"])
@pytest.mark.parametrize("link", ["dog/out.png", "out"])
@pytest.mark.parametrize("read", [read_image_folder, read_pictures])
def test_a_link_out_of_the_folder_is_refused(tmp_path, target, link, read):
    folder = fill(tmp_path / "folder", "dog/a.png")  # folder2 begins with its name
    fill(tmp_path, "secret.png", "secrets/a.png", "folder2/x.png")
    (folder / link).symlink_to(tmp_path / target)
    if link == "out" and target != "secrets":
        assert paths(folder) == ["dog/a.png"]  # a file without a picture's ending is not followed
        return
    with pytest.raises(InputError, match=r"links must stay in `.*folder`; got `.*out.*`, which leads to `.*`\. Copy"):
        read(folder)


def test_a_folder_that_is_itself_a_link_is_read(tmp_path):
    fill(tmp_path / "real", "dog/a.png")
    (tmp_path / "link").symlink_to("real")
    assert paths(tmp_path / "link") == ["dog/a.png"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"got no picture in a class at `.*` \(skipped: nothing\)"),
        (["a.png", "b.png"], r"got no picture in a class at `.*` \(skipped: 2 no_class\)"),
        (["dog/a.txt"], r"got no picture in a class at `.*` \(skipped: 1 not_an_image\)"),
    ],
)
def test_a_folder_without_a_picture_in_a_class_is_refused(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        read_image_folder(fill(tmp_path, *names))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="`folder` must be a folder; got"):
        read_image_folder(tmp_path / "absent")


def test_pictures_of_a_folder_come_by_path_with_errors_in_their_rows(tmp_path):
    fill(tmp_path, "b.png", "a.png", "c/d.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "large.png").write_bytes(bytes(1001))
    assert list(read_pictures(tmp_path, limit_bytes=1000)) == [
        Picture("a.png", png(1)),
        Picture("b.png", png(0)),
        Picture("c/d.png", png(2)),
        Picture("empty.png", b"", "empty"),
        Picture("large.png", b"", "too_large"),
    ]


def test_a_picture_that_vanishes_after_the_listing_is_an_error_in_its_row(tmp_path):
    pictures = read_pictures(fill(tmp_path, "a.png", "b.png"))
    assert next(pictures).name == "a.png"
    (tmp_path / "b.png").unlink()
    assert next(pictures) == Picture("b.png", b"", "missing")


def test_one_file_is_one_picture(tmp_path):
    assert list(read_pictures(fill(tmp_path, "a.png") / "a.png")) == [Picture("a.png", png())]


@pytest.mark.parametrize("name", ["absent", "absent.parquet", "absent.png", "notes.txt", "hollow"])
def test_what_holds_no_pictures_is_refused_at_once(tmp_path, name):
    fill(tmp_path, "notes.txt", "hollow/notes.txt")
    with pytest.raises(InputError, match="`images` must "):
        read_pictures(tmp_path / name)


@pytest.mark.parametrize("column", ["image", "bytes", "picture", "jpg"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_bytes_in_a_parquet_are_pictures_in_its_order(tmp_path, column, kind):
    content = pa.array([png(1), None, b"", bytes(1001), png(2)], kind)
    path = parquet(tmp_path / "a.parquet", **{column: content, "caption": ["x"] * 5})
    assert list(read_pictures(path, limit_bytes=1000)) == [
        Picture("row 0", png(1)),
        Picture("row 1", b"", "missing"),
        Picture("row 2", b"", "empty"),
        Picture("row 3", b"", "too_large"),
        Picture("row 4", png(2)),
    ]


def test_pictures_of_hugging_face_have_bytes_or_a_path(tmp_path):
    fill(tmp_path, "a.png")
    image = [{"bytes": png(7), "path": "x.png"}, {"bytes": None, "path": "a.png"}, {"bytes": None, "path": None}, None]
    path = parquet(tmp_path / "a.parquet", image=image, id=[3, 4, 5, 6])
    assert list(read_pictures(path)) == [
        Picture("3", png(7)),
        Picture("4", png()),
        Picture("5", b"", "missing"),
        Picture("6", b"", "missing"),
    ]


def test_paths_in_a_parquet_are_relative_to_it_and_stay_in_its_folder(tmp_path):
    folder = fill(tmp_path / "folder", "pictures/a.png")
    fill(tmp_path, "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    inside = str(folder / "pictures" / "a.png")
    names = [
        "pictures/a.png",
        inside,
        "../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "b.png",
        "",
        "a\0b",
        None,
    ]
    found = list(read_pictures(parquet(folder / "a.parquet", path=pa.array(names, pa.string()))))
    assert [picture.error for picture in found] == [
        "",
        "",
        *["outside"] * 3,
        "missing",
        "missing",
        "outside",
        "missing",
    ]
    assert [picture.name for picture in found[:3]] == names[:3]
    assert found[0].content == found[1].content == png()


def test_columns_can_be_named(tmp_path):
    path = parquet(tmp_path / "a.parquet", image=[png(1)], other=[png(2)], title=["a title"], name=["a name"])
    assert list(read_pictures(path)) == [Picture("a name", png(1))]
    assert list(read_pictures(path, column="other", name="title")) == [Picture("a title", png(2))]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"caption": ["x"]}, {}, "`column` must hold bytes of pictures, or paths; got none .* There|there: caption"),
        ({"image": [1]}, {}, "got none"),
        ({"image": [1]}, {"column": "image"}, "got `image` of type int64"),
        ({"image": [b"x"]}, {"column": "img"}, "`column` must be one of the file's; got `img` .* There: image"),
        ({"image": [b"x"]}, {"name": "title"}, "`column` must be one of the file's; got `title`"),
    ],
)
def test_a_parquet_without_pictures_is_refused_at_once(tmp_path, columns, options, message):
    with pytest.raises(InputError, match=message):
        read_pictures(parquet(tmp_path / "a.parquet", **columns), **options)


def test_a_damaged_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"`images` must be a readable Parquet file; got .* at `.*a\.parquet`"):
        read_pictures(tmp_path / "a.parquet")


def test_a_large_file_is_never_read_whole(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    assert read_picture(tmp_path, "a.png", limit_bytes=1000) == Picture("a.png", b"", "too_large")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
