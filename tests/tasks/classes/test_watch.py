"""One look at a folder: what is new, what waits, what is broken, and what may be tried again."""

import os
import time

import pytest
from prefect.states import Completed, Failed

from evenly.descriptions.errors import ClassListError, UnknownMethodError
from evenly.storage.errors import InputError
from evenly.tasks.classes.watch import FolderLook, ListsFailedError, look_for_lists, note_described
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run

HOW = {"methods": ["description"], "base_url": "embedded", "model": "small"}


@pytest.fixture
def run(workspace) -> Run:
    return Run(workspace=workspace, seed=0, progress=Progress(quiet=True))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "lists"
    path.mkdir()
    return path


def write(folder, name, content, *, age_s=100):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    then = time.time() - age_s
    os.utime(path, (then, then))


def look(run, folder, **options) -> FolderLook:
    return look_for_lists(run, str(folder), options.pop("how", HOW), settle_s=10.0)


def noted(run, found, *states):
    return note_described(run, found, states)


def test_new_lists_come_by_name_and_only_text_files_count(run, folder):
    write(folder, "b.txt", "owl\n")
    write(folder, "a.txt", "fox\n")
    write(folder, "notes.md", "no list")
    write(folder, ".hidden.txt", "no list")
    (folder / "folder.txt").mkdir()
    found = look(run, folder)
    assert [(one.name, one.text) for one in found.new] == [("a", "fox\n"), ("b", "owl\n")]
    assert found.rows == ()


def test_a_list_of_the_same_bytes_is_new_once(run, folder):
    write(folder, "a.txt", "fox\n")
    write(folder, "copy.txt", "fox\n")
    (one,) = look(run, folder).new
    assert one.name == "a"
    noted(run, look(run, folder), Completed(data="step"))
    assert look(run, folder) == FolderLook()
    (folder / "a.txt").rename(folder / "z.txt")
    assert look(run, folder) == FolderLook()


def test_another_way_to_describe_makes_all_lists_new(run, folder):
    write(folder, "a.txt", "fox\n")
    noted(run, look(run, folder), Completed(data="step"))
    assert [one.name for one in look(run, folder, how=HOW | {"model": "large"}).new] == ["a"]


def test_a_list_that_was_just_written_waits(run, folder):
    write(folder, "a.txt", "fox\n", age_s=1)
    write(folder, "b.txt", "owl\n")
    found = look(run, folder)
    assert [one.name for one in found.new] == ["b"]
    ((waiting),) = found.rows
    assert (waiting["file"].endswith("a.txt"), waiting["status"]) == (True, "waiting")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"fox\n\xff\xfe\n", "must be UTF-8"), ("", "must"), ("fox\nfox\n", "fox"), ("x" * 500, "must")],
    ids=["no text", "empty", "twice", "too long"],
)
def test_a_broken_list_is_told_once_and_again_when_it_changes(run, folder, content, words):
    write(folder, "a.txt", content)
    write(folder, "b.txt", "owl\n")
    found = look(run, folder)
    assert [one.name for one in found.new] == ["b"]
    (row,) = found.rows
    assert row["status"] == "broken"
    assert any(words in problem for problem in row["problems"])
    assert look(run, folder).rows == ()
    write(folder, "a.txt", "fox\n")
    assert [one.name for one in look(run, folder).new] == ["a", "b"]


def test_names_that_would_act_on_a_terminal_are_shown_and_refused(run, folder):
    write(folder, "a\x1b[31m.txt", "fox\n")
    ((row),) = look(run, folder).rows
    assert row["status"] == "broken"
    assert "\x1b" not in str(row)


def test_what_was_described_is_noted_with_its_step_and_what_failed_is_tried_again(run, folder):
    write(folder, "a.txt", "fox\n")
    write(folder, "b.txt", "owl\n")
    found = look(run, folder)
    with pytest.raises(ListsFailedError, match=r"1 of 2 were not.*b\.txt.*no endpoint"):
        noted(run, found, Completed(data="step-1"), Failed(data=OSError("no endpoint")))
    assert [one.name for one in look(run, folder).new] == ["b"]
    (row,) = noted(run, look(run, folder), Completed(data="step-2"))
    assert (row["status"], row["list"], row["step"]) == ("described", "b", "step-2")
    assert look(run, folder) == FolderLook()


def test_a_list_that_the_description_finds_broken_is_noted_as_such(run, folder):
    write(folder, "a.txt", "fox = no.such.n.01\n")
    found = look(run, folder)
    error = ClassListError(["line 1: no synset no.such.n.01"])
    (row,) = noted(run, found, Failed(data=error))
    assert (row["status"], row["problems"]) == ("broken", ["line 1: no synset no.such.n.01"])
    assert look(run, folder).new == ()


def test_an_unknown_method_or_a_folder_that_is_not_there_ends_the_look(run, folder, tmp_path):
    with pytest.raises(UnknownMethodError):
        look(run, folder, how=HOW | {"methods": ["telepathy"]})
    with pytest.raises(InputError, match="`folder` must exist"):
        look(run, tmp_path / "nowhere")
