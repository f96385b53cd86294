"""The store of artifacts: content by its hash, a name that moves in one step, pairs of files that 53a9c8b wrote."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evenly.storage.artifacts.kinds import ADAPTER, REFINED, adapter_at, put_adapter, read_adapter
from evenly.storage.artifacts.store import Artifacts, object_content
from evenly.storage.errors import DamagedError, InputError, NotFoundError
from evenly.storage.records import replace_record
from evenly.storage.workspace import Workspace

ROOT = Path(__file__).parents[3]
ARRAYS = {
    "weight_": np.arange(6, dtype=np.float32).reshape(2, 3),
    "rows_": np.empty(0, np.int64),
    "one_": np.array(1.5),
}
OTHER = ARRAYS | {"weight_": ARRAYS["weight_"] + 1}
CARD = {
    "adapter": "gda",
    "parameters": {"alpha": 1.0},
    "learned": {"encoder_": "ü"},
    "arrays": {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in ARRAYS.items()},
}
MADE_OF = {"build": "b-1", "encoder": "e" * 64, "rule": {"adapter": "gda"}}
HEADS_CARD = {"base": "e" * 64, "build": "b-1", "encoder": {}, "rule": {"objective": "contrastive"}, "notes": {}}
KILLED = """
import os, signal, sys
from pathlib import Path
from evenly.storage.artifacts import store
from evenly.storage.artifacts.kinds import REFINED
folder, moment = Path(sys.argv[1]), sys.argv[2]
setattr(store, moment, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
store.Artifacts.beside(REFINED, folder).put("mine", {}, b"other", made_of={"build": "b-2"}, force=True)
"""


@pytest.fixture(params=["folder", "store"])
def artifacts(request) -> Iterator[Artifacts]:
    """An empty folder of adapters, and one in an object store."""
    if request.param == "folder":
        yield Artifacts.beside(ADAPTER, request.getfixturevalue("tmp_path") / "new" / "folder")
        return
    workspace = Workspace.at(f"{request.getfixturevalue('bucket')}/team/w")
    yield Artifacts(ADAPTER, workspace.adapters / "b-1" / "list", workspace.objects)


@pytest.fixture
def mine(tmp_path) -> Artifacts:
    """A folder with a refined encoder."""
    artifacts = Artifacts.beside(REFINED, tmp_path)
    artifacts.put("mine", HEADS_CARD, b"heads", made_of=MADE_OF, force=False)
    return artifacts


def put(artifacts, arrays=ARRAYS, *, made_of=MADE_OF, force=False):
    return put_adapter(artifacts, "gda-names", CARD, arrays, made_of=made_of, force=force)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_read_is_what_was_put(artifacts):
    put(artifacts)
    card, arrays = read_adapter(artifacts, "gda-names")
    assert {key: card[key] for key in CARD} == CARD
    assert card["made_of"] == MADE_OF
    assert hashlib.sha256(object_content(artifacts.objects, card["arrays_sha256"])).hexdigest() == card["arrays_sha256"]
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)


def test_a_name_that_stands_for_something_else_is_replaced_by_force_alone(artifacts):
    put(artifacts)
    put(artifacts, OTHER)  # of the same build, encoder and rule: the same artifact
    before = read_adapter(artifacts, "gda-names")[0]
    for made_of in (MADE_OF | {"build": "b-2"}, MADE_OF | {"rule": {"adapter": "tip"}}):
        with pytest.raises(InputError, match=r"must be a name that is free; got .*gda-names`, .* --force"):
            put(artifacts, made_of=made_of)
    assert read_adapter(artifacts, "gda-names")[0] == before
    put(artifacts, made_of=MADE_OF | {"build": "b-2"}, force=True)
    assert read_adapter(artifacts, "gda-names")[0]["made_of"]["build"] == "b-2"


def test_equal_artifacts_are_equal_bytes_and_a_folder_of_ones_own_keeps_nothing_else(tmp_path):
    artifacts = Artifacts.beside(ADAPTER, tmp_path)
    put(artifacts)
    before = contents(tmp_path)
    put(artifacts)
    assert contents(tmp_path) == before
    put(artifacts, OTHER)
    after = contents(tmp_path)
    assert after.keys() != before.keys()
    assert len(after) == len(before) == 2


@pytest.mark.parametrize("moment", ["create_record", "replace_record"])
def test_a_kill_between_content_and_name_leaves_what_was_there_before(mine, moment):
    done = subprocess.run([sys.executable, "-c", KILLED, str(mine.folder), moment], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert mine.read("mine")[1] == b"heads"
    mine.put("mine", HEADS_CARD, b"other", made_of=MADE_OF, force=False)
    assert mine.read("mine")[1] == b"other"


@pytest.mark.parametrize("name", ["../mine", "", ".mine", "a/b", "x" * 65])
def test_what_is_no_name_is_refused(mine, name):
    with pytest.raises(InputError, match="must be letters, digits"):
        mine.put(name, HEADS_CARD, b"", made_of=MADE_OF, force=True)
    with pytest.raises(NotFoundError):
        mine.read(name)


def test_an_adapter_that_is_not_there_lists_those_that_are(artifacts):
    put(artifacts)
    with pytest.raises(NotFoundError, match=r"adapter `tip` must be in .*There: gda-names"):
        read_adapter(artifacts, "tip")


def test_a_flipped_bit_of_content_is_named_with_what_to_do_and_mended_by_it(mine):
    (path,) = mine.objects.iterdir()
    path.write_bytes(b"headt")
    message = r"must hold the heads of refined encoder `mine`; it does not\. Refine again\."
    with pytest.raises(DamagedError, match=message):
        mine.read("mine")
    mine.put("mine", HEADS_CARD, b"heads", made_of=MADE_OF, force=False)
    assert mine.read("mine")[1] == b"heads"
    path.unlink()
    with pytest.raises(DamagedError, match=r"must have its heads in .*; they are not there\. Refine again\."):
        mine.read("mine")


def as_written_by_53a9c8b(folder, name="gda-names", *, hashed=True):
    """The two files that it wrote."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    content = save(ARRAYS)
    (folder / f"{name}.safetensors").write_bytes(content)
    digest = {"arrays_sha256": hashlib.sha256(content).hexdigest()} if hashed else {}
    replace_record(folder / f"{name}.json", CARD | {"build": "b-1", "seed": 3} | digest)
    return content


def test_a_pair_of_files_is_taken_over_at_its_first_use_with_the_same_bytes(tmp_path):
    content, artifacts = as_written_by_53a9c8b(tmp_path), Artifacts.beside(ADAPTER, tmp_path)
    card = (tmp_path / "gda-names.json").read_bytes()
    artifacts.read("gda-names", takes_over=False)
    assert (tmp_path / "gda-names.safetensors").is_file()
    before = read_adapter(artifacts, "gda-names")
    assert not (tmp_path / "gda-names.safetensors").exists()
    assert object_content(artifacts.objects, before[0]["arrays_sha256"]) == content
    assert (tmp_path / "gda-names.json").read_bytes() == card
    assert read_adapter(artifacts, "gda-names")[0] == before[0]
    with pytest.raises(InputError, match="--force"):
        put(artifacts)


def test_a_pair_in_a_folder_that_is_read_only_stays_one(tmp_path, monkeypatch):
    content, artifacts = as_written_by_53a9c8b(tmp_path), Artifacts.beside(ADAPTER, tmp_path)

    def refused(*_, **__):
        raise PermissionError

    monkeypatch.setattr("evenly.storage.artifacts.store.put_object", refused)
    read_adapter(artifacts, "gda-names")
    assert (tmp_path / "gda-names.safetensors").read_bytes() == content


def test_a_card_from_before_there_were_hashes_is_read_as_it_is(tmp_path):
    as_written_by_53a9c8b(tmp_path, hashed=False)
    assert "arrays_sha256" not in adapter_at(tmp_path / "gda-names.json")[0]
    assert (tmp_path / "gda-names.safetensors").is_file()


def test_a_pair_that_was_half_written_is_named(tmp_path):
    as_written_by_53a9c8b(tmp_path)
    artifacts = Artifacts.beside(ADAPTER, tmp_path)
    (tmp_path / "gda-names.safetensors").write_bytes(b"of a later fit")
    with pytest.raises(DamagedError, match=r"must hold the arrays of the card beside it; .* broken off in between"):
        read_adapter(artifacts, "gda-names")
    (tmp_path / "gda-names.safetensors").unlink()
    with pytest.raises(DamagedError, match=r"must have its arrays in .* Fit it again"):
        read_adapter(artifacts, "gda-names")
    (tmp_path / "gda-names.json").rename(tmp_path / "other.json")
    (tmp_path / "gda-names.safetensors").write_bytes(b"of a first fit")
    with pytest.raises(DamagedError, match=r"must have its card beside it, `gda-names.json`; there is none"):
        read_adapter(artifacts, "gda-names")
    assert artifacts.names() == ["gda-names", "other"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "must be JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "got no `adapter`"),
        (json.dumps(CARD | {"arrays": []}).encode(), "got no `arrays`"),
    ],
)
def test_a_card_that_is_none_is_named(tmp_path, content, words):
    artifacts = Artifacts.beside(ADAPTER, tmp_path)
    put(artifacts)
    (tmp_path / "gda-names.json").write_bytes(content)
    with pytest.raises(DamagedError, match=words) as error:
        read_adapter(artifacts, "gda-names")
    assert str(tmp_path) in str(error.value)


def test_arrays_that_are_not_those_of_their_card_are_named(tmp_path):
    artifacts = Artifacts.beside(ADAPTER, tmp_path)
    artifacts.put("gda-names", CARD, b"\xff" * 100, made_of=MADE_OF, force=True)
    with pytest.raises(DamagedError, match="must be safetensors"):
        read_adapter(artifacts, "gda-names")
    put(artifacts, {"weight_": ARRAYS["one_"]})
    with pytest.raises(DamagedError, match="must be those that its card names"):
        read_adapter(artifacts, "gda-names")


def test_an_adapter_of_a_workspace_is_opened_by_its_card_alone(workspace, monkeypatch):
    artifacts = Artifacts(ADAPTER, workspace.adapters / "b-1" / "list", workspace.objects)
    path = put(artifacts)
    assert np.array_equal(adapter_at(path)[1]["weight_"], ARRAYS["weight_"])
    monkeypatch.chdir(path.parent)
    assert adapter_at(Path(path.name))[0]["adapter"] == "gda"
    assert list(path.parent.iterdir()) == [path]
