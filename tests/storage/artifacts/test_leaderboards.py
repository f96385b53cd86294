import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evenly.storage.artifacts.kinds import LeaderboardRuns

ROW = {"name": "gda", "texts": "names", "shots": 4, "seed": 1, "accuracy": 0.5}


@given(bits=st.lists(st.booleans(), max_size=40))
def test_what_is_stored_is_read_again(tmp_path_factory, bits):
    runs = LeaderboardRuns(tmp_path_factory.mktemp("board"), {"build": "a"})
    runs.add(ROW, np.array(bits, dtype=bool))
    ((row, correct),) = runs.all()
    assert row == ROW
    assert correct.tolist() == bits


def test_the_first_of_two_equal_runs_stays(tmp_path):
    runs = LeaderboardRuns(tmp_path, {"build": "a"})
    runs.add(ROW, np.array([True]))
    runs.add(ROW | {"accuracy": 0.9}, np.array([False]))
    assert [row["accuracy"] for row, _ in runs.all()] == [0.5]


def test_runs_of_another_key_are_not_mixed_in(tmp_path):
    LeaderboardRuns(tmp_path, {"build": "a"}).add(ROW, np.array([True]))
    assert list(LeaderboardRuns(tmp_path, {"build": "b"}).all()) == []
