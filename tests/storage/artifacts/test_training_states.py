"""States of trainings: read as written, each removed with its own training, in a folder and in a store."""

import numpy as np
import pytest

from evenly.storage.artifacts.training_states import TrainingStates

STATE = {"0.context": np.arange(6, dtype=np.float32).reshape(2, 3), "momentum.context": np.zeros(1, np.float32)}


@pytest.fixture(params=["workspace", "stored_workspace"], ids=["folder", "store"])
def folder(request):
    return request.getfixturevalue(request.param).refined / "running" / "prompts"


def test_a_state_is_read_as_it_was_written_and_a_damaged_one_is_none(folder):
    states = TrainingStates(folder)
    assert states.get("a") is None
    states["a"] = {"0.context": np.ones(1, np.float32)}
    states["a"] = STATE
    assert {name: values.tolist() for name, values in TrainingStates(folder)["a"].items()} == {
        name: values.tolist() for name, values in STATE.items()
    }
    assert list(states) == ["a"]
    path = folder / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert states.get("a") is None


def test_what_is_done_takes_its_own_states_away_and_no_others(folder):
    mine, others = TrainingStates(folder), TrainingStates(folder)
    mine["a"] = mine["shared"] = others["shared"] = others["b"] = STATE
    mine.remove_touched()
    assert list(others) == ["b"]
    others["shared"] = STATE  # as if its training went on
    mine.remove_touched()
    assert list(others) == ["b", "shared"]
    others.remove_touched()
    assert list(others) == []
    again = TrainingStates(folder)
    again["c"] = STATE
    assert TrainingStates(folder)["c"].keys() == STATE.keys()
    TrainingStates(folder).remove_touched()
    assert list(again) == ["c"]
