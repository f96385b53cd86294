"""Class list files of a real folder and of a store in memory: what is found, what waits, what is refused."""

import os
from datetime import UTC, datetime, timedelta

import fsspec
import pytest

from evenly.storage.errors import InputError
from evenly.storage.files.class_lists import MAX_BYTES, ClassFile, ClassFiles

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def names(files):
    return [file.name for file in files]


def test_text_files_directly_in_the_folder_are_found_by_name(tmp_path):
    for name in ("b.txt", "a.txt", ".hidden.txt", "c.csv", "d.txt~"):
        (tmp_path / name).write_text("cat\n")
    (tmp_path / "e.txt").mkdir()
    files = ClassFiles(str(tmp_path)).find()
    assert names(files) == ["a", "b"]
    assert [file.problem for file in files] == ["", ""]
    assert ClassFiles(str(tmp_path)).read(files[0]) == b"cat\n"


@pytest.mark.parametrize(("age_s", "settled"), [(0, False), (9.9, False), (10, True), (-5, False), (-3600, True)])
def test_a_file_waits_until_it_has_rested(age_s, settled):
    file = ClassFile(name="a", place="a", size=1, modified=NOW - timedelta(seconds=age_s))
    assert file.settled(NOW, settle_s=10) == settled


def test_a_file_of_unknown_age_does_not_wait():
    assert ClassFile(name="a", place="a", size=1, modified=None).settled(NOW, settle_s=10)


def test_a_file_that_changes_or_goes_while_it_is_read_is_not_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("cat\n")
    files = ClassFiles(str(tmp_path))
    (file,) = files.find()
    path.write_text("cat\ndog\n")
    assert files.read(file) is None
    (file,) = files.find()
    os.utime(path, (1, 1))
    assert files.read(file) is None
    (file,) = files.find()
    path.unlink()
    assert files.read(file) is None


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_not(tmp_path):
    folder = tmp_path / "lists"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "secret").write_text("token\n")
    (folder / "data" / "inner").write_text("cat\n")
    (folder / "out.txt").symlink_to(tmp_path / "secret")
    (folder / "in.txt").symlink_to(folder / "data" / "inner")
    files = ClassFiles(str(folder))
    found = {file.name: file for file in files.find()}
    assert files.read(found["in"]) == b"cat\n"
    assert found["in"].problem == ""
    assert "lead out" in found["out"].problem


def test_a_huge_file_is_refused_unread(tmp_path):
    with (tmp_path / "huge.txt").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    (file,) = ClassFiles(str(tmp_path)).find()
    assert "at most" in file.problem


def test_a_prefix_of_another_store_works_the_same():
    store = fsspec.filesystem("memory")
    store.pipe({"/bucket/lists/b.txt": b"cat\n", "/bucket/lists/a.txt": b"dog\n", "/bucket/lists/x/c.txt": b"cow\n"})
    files = ClassFiles("memory://bucket/lists")
    found = files.find()
    assert names(found) == ["a", "b"]
    assert found[0].place == "memory:///bucket/lists/a.txt"
    assert files.read(found[0]) == b"dog\n"
    store.pipe("/bucket/lists/a.txt", b"dogs\n")
    assert files.read(found[0]) is None
    store.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nowhere/at/all", "must exist"),
        ("memory://no/such/prefix", "must exist"),
        ("gopher://a/b", "known kind of URL"),
        ("s3://key:secret@bucket/lists", "no user name or password"),
    ],
)
def test_a_folder_that_cannot_be_watched_is_one_clear_error(folder, words):
    with pytest.raises(InputError, match=words) as caught:
        ClassFiles(folder).find()
    assert "secret" not in str(caught.value)
