"""The forget list: keyed hashes that tell nothing without the key, which only its owner may read."""

import stat

import pyarrow as pa
import pytest

from evenly.storage.errors import InputError, StorageError, WriterError
from evenly.storage.removal.forget import ForgetList, add_forgotten, read_forgotten
from evenly.storage.removal.leftovers import list_files
from evenly.storage.removal.things import parse_things
from evenly.storage.workspace import Workspace, writing

URL = "https://a.test/secret.jpg"


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest) -> Workspace:
    """A workspace in a folder and one in a store."""
    return request.getfixturevalue("workspace" if request.param == "folder" else "stored_workspace")


def test_what_was_put_on_the_list_is_on_it_and_nothing_else(place):
    assert read_forgotten(place) == ForgetList()
    assert read_forgotten(place).digest == ""
    assert add_forgotten(place, [("uid", "ab"), ("url", URL), ("uid", "ab")]) == 2
    assert add_forgotten(place, [("uid", "ab"), ("image_id", "cd")]) == 1
    forget = read_forgotten(place)
    assert forget.holds("uid", pa.array(["ab", None, "cd", "ab"])).to_pylist() == [True, False, False, True]
    assert forget.holds("url", pa.array([URL, "ab"])).to_pylist() == [True, False]
    assert forget.holds("image_id", pa.array(["cd"])).to_pylist() == [True]
    assert forget.holds("url", pa.array([], pa.string())).to_pylist() == []
    assert len(forget.digest) == 64


def test_the_list_shows_neither_what_is_on_it_nor_its_key(place):
    add_forgotten(place, [("url", URL)])
    forget = read_forgotten(place)
    assert forget.key.hex() not in repr(forget)
    for file in list_files(place.root):
        assert URL not in file.name + file.path.read_bytes().decode()
        assert file.path.name == "key.json" or forget.key.hex() not in file.path.read_text()
    assert forget.hash_of("url", URL) not in ForgetList(frozenset("x"), bytes(32)).hash_of("url", URL)


def test_lists_of_two_workspaces_have_nothing_in_common(tmp_path):
    for name in ("a", "b"):
        add_forgotten(Workspace.at(tmp_path / name), [("url", URL)])
    a, b = (read_forgotten(Workspace.at(tmp_path / name)) for name in ("a", "b"))
    assert not a.hashes & b.hashes


def test_the_key_is_its_owners(workspace):
    add_forgotten(workspace, [("uid", "ab")])
    secret = workspace.forget / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o700
    assert stat.S_IMODE((secret / "key.json").stat().st_mode) == 0o600


def test_a_list_without_its_key_is_refused_and_no_other_key_is_made(workspace):
    add_forgotten(workspace, [("uid", "ab")])
    (workspace.forget / "secret" / "key.json").unlink()
    for look in (read_forgotten, lambda where: add_forgotten(where, [("uid", "cd")])):
        with pytest.raises(StorageError, match="must be there and readable by this user"):
            look(workspace)


def test_nothing_is_put_on_the_list_while_a_recipe_is_written(workspace):
    with (
        writing(workspace, "birds"),
        pytest.raises(WriterError, match=r"must not be cleaned while a command writes in it; .* writing birds"),
    ):
        add_forgotten(workspace, [("uid", "ab")])
    assert read_forgotten(workspace) == ForgetList()


@pytest.mark.parametrize("entry", [("uid", ""), ("caption", "a dog")])
def test_an_entry_that_names_nothing_is_refused(workspace, entry):
    with pytest.raises(InputError, match="`values` must be a naming and a text"):
        add_forgotten(workspace, [entry])


def test_a_public_suffix_is_no_domain_that_can_be_taken_down():
    with pytest.raises(InputError, match=r"got `co\.uk`, under which anybody may register one"):
        parse_things(["example.org", "co.uk"])
    assert parse_things(["Example.co.uk", "pictures.test"]).domains == {"example.co.uk", "pictures.test"}
