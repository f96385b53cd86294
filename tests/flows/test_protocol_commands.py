"""Base-to-new and sessions as people run them, on scikit-learn's digits as pixel rows."""

import json

import numpy as np
import pytest

from adapters.features_record import unit_rows
from flows.cli import app
from flows.cli_errors import report_errors
from storage.array_files import write_arrays


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    from sklearn.datasets import load_digits

    raw = load_digits()
    image, labels = unit_rows(raw.data), raw.target.astype(np.int64)
    prototypes = unit_rows(np.stack([image[labels == c][:3].mean(axis=0) for c in range(10)]))
    found = {"prototypes": prototypes}
    for part, rows in {"train": slice(100, 500), "val": slice(500, 700), "test": slice(700, 1200)}.items():
        found |= {f"{part}_features": image[rows], f"{part}_labels": labels[rows]}
    path = tmp_path_factory.mktemp("features") / "pixels.npz"
    write_arrays(path, found)
    return path


@pytest.fixture
def evenly(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["evenly", *map(str, arguments)])
        status = report_errors(app)
        return status, *capsys.readouterr()

    return run


def test_base_to_new_names_both_harmonic_means(evenly, arrays):
    status, out, _ = evenly("base-to-new", arrays, arrays, "--json")
    found = json.loads(out)
    assert status == 0
    (row, again) = found["data_sets"]
    assert row == again
    assert row["base_rows"] + row["new_rows"] == 500
    assert row["base_low"] <= row["base"] <= row["base_high"]
    assert row["base"] > row["new"] > 0.1
    for name in ("mean_of_harmonic_means", "harmonic_mean_of_averages"):
        assert found[name] == pytest.approx(row["harmonic_mean"])


def test_sessions_judge_the_classes_seen_so_far(evenly, arrays):
    status, out, _ = evenly("sessions", arrays, "--first", 4, "--step", 3, "--json")
    found = json.loads(out)
    assert status == 0
    assert [row["classes"] for row in found["sessions"]] == [4, 7, 10]
    assert found["sessions"][-1]["rows"] == 500
    assert found["performance_drop"] == pytest.approx(
        found["sessions"][0]["accuracy"] - found["sessions"][-1]["accuracy"]
    )


def test_more_first_classes_than_there_are_is_a_usage_error(evenly, arrays):
    status, _, err = evenly("sessions", arrays, "--first", 11)
    assert status == 2
    assert "`--first` must be at most the 10 classes" in err


@pytest.mark.parametrize("command", ["base-to-new", "sessions"])
def test_people_read_tables(evenly, arrays, command):
    more = ["--first", 5] if command == "sessions" else ["--adapter", "linear", "--param", "C=1"]
    status, out, _ = evenly(command, arrays, *more)
    assert status == 0
    assert "mean" in out or "average" in out
