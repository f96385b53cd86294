"""Base-to-new and sessions as people run them, on scikit-learn's digits as pixel rows."""

import json

import numpy as np
import pytest

from evenly.adapters.features import unit_rows
from evenly.flows.cli import app
from evenly.storage.files.arrays import write_arrays
from tests.reported import report_errors


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


@pytest.fixture(scope="module")
def pictures(tiny_weights, digit_pictures, tmp_path_factory):
    """`digits.npz` of pictures by an encoder that learns prompts, in a workspace."""
    folder = tmp_path_factory.mktemp("prompts")
    model = ["--model", "tiny-for-commands", "--pretrained", tiny_weights]
    command = ["evenly", "extract", "--images", digit_pictures, *model, "--out", folder / "digits.npz"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [*map(str, command), "--root", str(folder)])
        assert report_errors(app) == 0
    return folder / "digits.npz"


def test_prompts_learn_in_sessions_beside_a_rival(evenly, pictures):
    options = ["--first", 4, "--step", 3, "--adapter", "cpe", "--param", "steps=5", "--root", pictures.parent]
    status, out, err = evenly("sessions", pictures, *options, "--against", "gda_incremental", "--json")
    assert status == 0, err
    result = json.loads(out)
    rival = result["against"]
    assert (result["adapter"], rival["adapter"]) == ("cpe", "gda_incremental")
    assert (result["parameters"]["steps"], rival["parameters"]["alpha"]) == (5, 1.0)
    assert [row["classes"] for row in result["sessions"]] == [row["classes"] for row in rival["sessions"]] == [4, 7, 10]
    assert rival["gain"]["estimate"] == pytest.approx(result["average"] - rival["average"])
    assert rival["gain"]["low"] < rival["gain"]["estimate"] < rival["gain"]["high"]
    _, text, _ = evenly("sessions", pictures, *options, "--against", "gda_incremental")
    assert "gain of the average over gda_incremental" in text


def test_base_to_new_takes_the_tower(evenly, pictures):
    more = ["--param", "steps=5", "--param", "learning_rate=0.1", "--root", pictures.parent, "--no-guard"]
    status, out, err = evenly("base-to-new", pictures, "--adapter", "coop", *more, "--json")
    assert status == 0, err
    assert set(json.loads(out)["data_sets"][0]["chosen"]) == {"stop"}


def test_students_of_pseudo_labels_are_prompts_where_they_are_wanted(evenly, pictures, tmp_path):
    fit = ["fit", "--arrays", pictures, "--adapter", "grip", "--param", "student=prompt", "--param", "rounds=2"]
    fit += ["--param", "steps=5", "--param", "alpha=1", "--root", pictures.parent, "--out", tmp_path / "grip"]
    status, out, err = evenly(*fit, "--json")
    assert status == 0, err
    assert json.loads(out)["parameters"]["student"] == "prompt"


def test_an_adapter_without_sessions_and_a_file_of_no_encoder_are_refused(evenly, arrays):
    status, _, err = evenly("sessions", arrays, "--first", 4, "--adapter", "tip")
    assert status == 2
    assert "must learn in sessions: gda_incremental, cpe; got `tip`" in " ".join(err.split())
    status, _, err = evenly("sessions", arrays, "--first", 4, "--adapter", "cpe")
    assert status == 2
    assert "got none for `tower`" in " ".join(err.split())


def test_features_of_another_encoder_than_here_are_refused_where_the_tower_is_asked(evenly, pictures, tmp_path):
    with np.load(pictures) as file:
        model, pretrained, _ = file["encoder"]
        write_arrays(tmp_path / "other.npz", {**file, "encoder": np.array([model, pretrained, "0" * 64])})
    options = ["--first", 4, "--root", pictures.parent]
    status, _, err = evenly("sessions", tmp_path / "other.npz", *options, "--adapter", "cpe")
    assert status == 2
    assert "`encoder` must be the one that made the features, 000000000000" in " ".join(err.split())
    assert evenly("sessions", tmp_path / "other.npz", *options)[0] == 0


COMMANDS = {
    "fit": ["fit", "--arrays", "FILE", "--adapter", "gda", "--out", "OUT"],
    "leaderboard": [
        "leaderboard",
        "--arrays",
        "FILE",
        "--adapter",
        "gda",
        "--shots",
        "4",
        "--seeds",
        "1",
        "--out",
        "OUT",
    ],
    "base-to-new": ["base-to-new", "FILE", "--adapter", "gda_base_to_new"],
    "sessions": ["sessions", "FILE", "--first", "4"],
}


@pytest.fixture
def command(evenly, arrays, tmp_path):
    """Run one of the commands on the file with some of its arrays changed: (status, stdout, stderr)."""

    def run(name, changes):
        with np.load(arrays) as file:
            write_arrays(tmp_path / "changed.npz", {**file, **changes(file)})
        places = {"FILE": tmp_path / "changed.npz", "OUT": tmp_path / "out"}
        root = ["--root", tmp_path / "root", "--workers", "1"] if name == "leaderboard" else []
        return evenly(*(places.get(word, word) for word in COMMANDS[name]), *root, "--json")

    return run


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            lambda _: {"train_groups": np.arange(400).astype(str), "test_groups": np.arange(399, 899).astype(str)},
            "`train_groups` and `test_groups` must share no group; got `399` in both",
        ),
        (lambda _: {"classes": np.array([*"abcdefghi", "a"])}, "`classes` must differ; got `a` at positions 0, 9"),
        (lambda _: {"classes": np.array([*"abcdefghi", ""])}, "`classes` must have names; got '' at position 9"),
    ],
    ids=["parted group", "two of a name", "no name"],
)
def test_every_command_on_arrays_refuses_the_same(command, name, changes, message):
    status, _, err = command(name, changes)
    assert status == 2
    assert message in " ".join(err.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_on_arrays_leaves_out_the_same_rows_and_says_so(command, name):
    def leaked(file):
        kept = file["train_labels"] != 4
        train, labels = file["train_features"][kept], file["train_labels"][kept]
        return {
            "train_features": np.concatenate([train, file["test_features"]]),
            "train_labels": np.concatenate([labels, np.where(file["test_labels"] == 4, 5, file["test_labels"])]),
        }

    status, out, err = command(name, leaked)
    assert status == 0, err
    found = json.loads(out)
    holder = {"leaderboard": "leaderboards", "base-to-new": "data_sets"}.get(name)
    notes = (found[holder][0] if holder else found)["notes"]
    assert notes[0].endswith("train rows have a twin in test (cosine over 0.9999): left out")
    assert notes[0].startswith("500 of ")
    assert notes[1] == "1 of 10 classes without train images (no adapter learned from an image of them): 4"
