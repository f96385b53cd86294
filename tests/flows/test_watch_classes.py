"""The watched folder: new content is described once, half-written files wait, broken lists are told once."""

import json
import os
import time

import fsspec
import pytest

from evenly.flows.watch_classes import watch_classes
from evenly.storage.files.class_lists import Watched
from evenly.storage.ledger import Ledger
from evenly.tasks.classes.watch import ListsFailedError
from tests.chat_server import tiny_server

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def server():
    with tiny_server() as tiny:
        yield tiny


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    return folder


@pytest.fixture
def look(server, folder, workspace):
    """One look; the rows by file name."""

    def run(place=folder, **more):
        rows = watch_classes(
            folder=str(place),
            methods=["description"],
            base_url=server.url,
            model="tiny",
            root=str(workspace.root),
            quiet=True,
            **more,
        )
        return {row["file"].rpartition("/")[2]: dict(row) for row in rows}

    return run


def write(path, text, *, age_s=60.0):
    """A file that was finished `age_s` seconds ago."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(path, (time.time() - age_s,) * 2)


def asked(server):
    found = sorted(json.loads(one["messages"][0]["content"].partition("\n")[0])["class"] for one in server.requests)
    server.requests.clear()
    return found


def test_what_is_new_is_described_and_a_second_look_asks_nothing(look, folder, server, workspace):
    write(folder / "pets.txt", "cat\ndog\n")
    found = look()
    assert {name: row["status"] for name, row in found.items()} == {"pets.txt": "described"}
    assert asked(server) == ["cat", "dog"]
    record = Ledger(workspace).find(found["pets.txt"]["step"])
    assert record.rule["list"] == "pets"
    assert record.notes["accepted"] == 8
    assert look() == {}
    assert asked(server) == []


@pytest.mark.slow
def test_another_name_or_a_copy_is_nothing_new_and_added_classes_ask_for_themselves(look, folder, server):
    write(folder / "pets.txt", "cat\ndog\n")
    look()
    asked(server)
    (folder / "pets.txt").rename(folder / "animals.txt")
    write(folder / "copy.txt", "cat\ndog\n")
    assert look() == {}
    write(folder / "animals.txt", "bird\ncat\nfish\ndog\nsnail\n")
    assert look()["animals.txt"]["status"] == "described"
    assert asked(server) == ["bird", "fish", "snail"]


def test_a_file_that_is_still_being_written_waits(look, folder, server):
    write(folder / "pets.txt", "cat\n", age_s=1)
    assert look() == {"pets.txt": {"file": f"file://{folder}/pets.txt", "status": "waiting"}}
    assert server.requests == []
    write(folder / "pets.txt", "cat\ndog\n", age_s=11)
    assert look()["pets.txt"]["status"] == "described"


@pytest.mark.slow
def test_a_broken_list_is_told_once_and_stops_no_other(look, folder, server):
    write(folder / "a_broken.txt", "cat\n\ncat\n")
    write(folder / "b_binary.txt", b"\xff\xfe\x00cat")
    write(folder / "c_unknown_sense.txt", "cat\tn99999999\n")
    write(folder / "d_good.txt", "dog\n")
    found = look()
    assert {name: row["status"] for name, row in found.items()} == {
        "a_broken.txt": "broken",
        "b_binary.txt": "broken",
        "c_unknown_sense.txt": "broken",
        "d_good.txt": "described",
    }
    assert len(found["a_broken.txt"]["problems"]) == 2
    assert "UTF-8" in found["b_binary.txt"]["problems"][0]
    assert "n99999999" in found["c_unknown_sense.txt"]["problems"][0]
    assert look() == {}
    write(folder / "a_broken.txt", "cat\n")
    assert look()["a_broken.txt"]["status"] == "described"
    assert asked(server) == ["cat", "dog"]


def test_odd_names_and_links_out_of_the_folder_are_told_once(look, folder, server, tmp_path):
    write(tmp_path / "secret.txt", "token\n")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    write(folder / "red\x1b[31m.txt", "cat\n")
    write(folder / os.fsdecode(b"\xff.txt"), "cat\n")
    found = look()
    assert {row["status"] for row in found.values()} == {"broken"}
    assert len(found) == 3
    assert all(line.isprintable() for row in found.values() for line in (row["file"], *row["problems"]))
    assert look() == {}
    assert server.requests == []


@pytest.mark.slow
def test_a_list_that_failed_is_tried_again_and_the_others_are_described(look, folder, server, workspace):
    server.answer = lambda request, _before: (
        server.failure(401) if "wolf" in request["messages"][0]["content"] else server.good()
    )
    write(folder / "a.txt", "wolf\n")
    write(folder / "b.txt", "cat\n")
    with pytest.raises(ListsFailedError, match=r"a\.txt"):
        look()
    assert asked(server) == ["cat", "wolf"]
    assert len(list(Watched(workspace).folder.iterdir())) == 1
    server.answer = lambda _request, _before: server.good()
    assert {name: row["status"] for name, row in look().items()} == {"a.txt": "described"}
    assert asked(server) == ["wolf"]


@pytest.mark.slow
def test_a_look_that_died_before_its_note_asks_for_nothing_again(look, folder, server, workspace):
    write(folder / "pets.txt", "cat\n")
    step = look()["pets.txt"]["step"]
    for note in Watched(workspace).folder.iterdir():
        note.unlink()
    asked(server)
    assert look()["pets.txt"]["step"] == step
    assert asked(server) == []


def test_a_prefix_of_an_object_store_is_watched_the_same(look, server):
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/lists/pets.txt", b"cat\ndog\n")
    assert look("memory://bucket/lists", settle_s=0.0)["pets.txt"]["status"] == "described"
    store.rm("/bucket", recursive=True)
    assert asked(server) == ["cat", "dog"]
