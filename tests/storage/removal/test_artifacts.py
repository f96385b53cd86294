"""What `clean` takes of artifacts: contents that nothing names, never those that a card, a step or a build names."""

import os
from datetime import UTC, datetime

import pytest

from evenly.storage.artifacts.kinds import refined_encoders_of
from evenly.storage.artifacts.store import object_path, put_object
from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger, StepOutput, StepSpec
from evenly.storage.removal.clean import Wanted, clean_workspace
from evenly.storage.workspace import Workspace

CARD = {"base": "e" * 64, "build": "b-1", "encoder": {}, "rule": {}, "notes": {}}
ALL = Wanted(older_than_s=0.0)


@pytest.fixture(params=["folder", "store"])
def place(request) -> Workspace:
    if request.param == "folder":
        return request.getfixturevalue("workspace")
    return Workspace.at(f"{request.getfixturevalue('bucket')}/team/w")


def put(place, content, *, build="b-1"):
    refined_encoders_of(place).put("mine", CARD, content, made_of={"build": build}, force=True)


def cleaned(place, wanted=ALL):
    contents = clean_workspace(place, place.exchange, wanted)
    return {file.path.stem for leftover in contents.leftovers for file in leftover.files if file.path.suffix != ".json"}


def test_only_what_nothing_names_is_taken_once_it_is_old(place):
    put(place, b"first")
    first = put_object(place.objects, b"first")
    put(place, b"second", build="b-2")
    of_step, of_build, of_none = (put_object(place.objects, text) for text in (b"step", b"build", b"none"))
    spec = StepSpec(name="refine_encoder", version=1, rule={}, inputs={})
    Ledger(place).commit(spec, StepOutput(notes={"heads": of_step}), uids=None, started=datetime.now(UTC))
    manifest = {"build": "b-1", "recipe_name": "b", "created": "2026", "steps": [], "samples": {"version": 1}}
    Builds(place).publish(manifest | {"encoder": {"heads": of_build}})
    assert cleaned(place, Wanted(older_than_s=3600.0)) == set()
    assert cleaned(place) == {first, of_none}
    assert refined_encoders_of(place).read("mine")[1] == b"second"
    assert object_path(place.objects, of_step).is_file()
    assert object_path(place.objects, of_build).is_file()
    assert cleaned(place) == set()


def test_states_of_refining_that_was_broken_off_are_taken_once_they_are_old(workspace):
    state = workspace.refined / "running" / "ab" / "0001.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"state")
    assert cleaned(workspace, Wanted(older_than_s=3600.0)) == set()
    os.utime(state, (0, 0))
    assert cleaned(workspace, Wanted(older_than_s=3600.0)) == {"0001"}
    assert not state.exists()
