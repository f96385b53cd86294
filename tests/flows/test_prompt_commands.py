"""`evenly fit --arrays --adapter coop` on a tiny CLIP: cost, kills, what files may lack, every hyper-parameter."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import evenly
from evenly.adapters import ADAPTERS
from evenly.adapters.features import Features, unit_rows
from evenly.adapters.prompts.coop import CoOp
from evenly.features.refining.encoder import heads_identity
from evenly.features.refining.heads import Heads
from evenly.flows.cli.adapters.predict import open_adapter
from evenly.flows.runs import workspace_run
from evenly.storage.artifacts.kinds import refined_encoders_of
from evenly.storage.artifacts.training_states import TrainingStates
from evenly.storage.files.arrays import write_arrays
from evenly.storage.workspace import Workspace
from evenly.tasks.encoders import encoder_identity, open_encoder
from evenly.tasks.run import EncoderChoice
from tests.tiny_encoders import DIMENSION, write_clip

NAMES = ("cat", "red fox", "owl")
NO_HEADS = Heads.start(DIMENSION, 4, seed=0).arrays()
QUICK = ("--param", "steps=10", "--param", "initial=a two")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A file of features as `evenly extract` writes it: rows near to what the tower says of "number NAME"."""
    folder = write_clip(tmp_path_factory.mktemp("encoder") / "clip")
    run = workspace_run(tmp_path_factory.mktemp("root"), encoder=EncoderChoice(model=f"local-dir:{folder}"))
    encoder, draw = open_encoder(run), np.random.default_rng(0)
    arrays = {"classes": np.array(NAMES), "encoder": np.array([run.encoder.model, "", encoder_identity(run)])}
    arrays["prototypes"] = unit_rows(encoder.encode_texts([f"a {name}" for name in NAMES]))
    real = unit_rows(encoder.encode_texts([f"number number {name}" for name in NAMES]))
    for part, n in {"train": 60, "val": 60, "test": 90}.items():
        labels = np.arange(n) % 3
        arrays[f"{part}_labels"] = labels
        arrays[f"{part}_features"] = unit_rows(real[labels] + 0.1 * draw.normal(size=(n, real.shape[1])))
    moved = arrays["train_features"] + 0.05 * draw.normal(size=(2, *arrays["train_features"].shape))
    arrays["train_views"] = unit_rows(moved.reshape(-1, real.shape[1])).reshape(moved.shape)
    arrays |= {"class_texts": real, "class_text_labels": np.arange(3)}
    arrays |= {"rejection_names": np.array(["dog"]), "rejection_prototypes": unit_rows(encoder.encode_texts(["a dog"]))}
    return arrays


@pytest.fixture
def fit(evenly, content, tmp_path):
    """Run `fit` on the file with changes, None for what is taken out: (exit status, result or nothing, stderr)."""

    def run(*arguments, out="fitted", **changes):
        kept = {name: values for name, values in (content | changes).items() if values is not None}
        write_arrays(tmp_path / "file.npz", kept)
        adapter = () if "--adapter" in arguments else ("--adapter", "coop")
        root = () if "--root" in arguments else ("--root", tmp_path / "root")
        file = ("--arrays", tmp_path / "file.npz", *adapter)
        status, out, err = evenly("fit", *file, *root, "--out", tmp_path / out, *arguments, "--json")
        return status, json.loads(out) if status == 0 else None, err

    return run


def adapter_of(folder):
    """The hash of what a fit learned, and its card without times."""
    card = json.loads((folder / "adapter.json").read_text())
    (learned,) = (folder / "objects").iterdir()
    return learned.name, card["learned"], card["metrics"]


def test_a_fit_says_what_it_cost_and_leaves_no_state(fit, tmp_path):
    status, result, err = fit(*QUICK)
    assert status == 0, err
    assert result["metrics"]["difference"] > 0.2
    cost = result["training"]
    assert cost["steps"] == 20  # two rates
    assert 0 < cost["seconds_per_epoch"] < cost["seconds"] < 60
    assert cost["peak_memory_bytes"] > 1e8
    assert "prompts: 20 steps in" in err
    assert "s an epoch; peak memory" in err
    assert not [*(tmp_path / "root").rglob("*.safetensors")]
    assert "training" not in json.loads((tmp_path / "fitted" / "adapter.json").read_text())


@pytest.mark.parametrize("adapter", [name for name, kind in ADAPTERS.items() if "tower" in kind.needs])
def test_every_prompt_learner_is_fitted_read_again_and_named(fit, evenly, tmp_path, adapter):
    status, result, err = fit(*QUICK, "--adapter", adapter)
    assert status == 0, err
    assert result["metrics"]["n"] == 90
    assert result["training"]["steps"] >= 10
    card, fitted = open_adapter(tmp_path / "fitted")
    if not result["kept_zero_shot"]:
        assert card["adapter"] == adapter
        assert len(json.loads(evenly("descriptions", "show", tmp_path / "fitted", "--json")[1])["words"]) >= 2
    assert fitted.predict(Features(image=np.eye(16, dtype=np.float32))).max() < 3


@pytest.mark.parametrize("place", ["folder", pytest.param("store", marks=pytest.mark.slow)])
def test_a_fit_that_was_broken_off_goes_on_to_equal_bits(fit, request, tmp_path, monkeypatch, place):
    fit(*QUICK, out="whole")
    root = tmp_path / "root" if place == "folder" else request.getfixturevalue("stored_workspace").root
    states = TrainingStates(Workspace.at(root).refined / "running" / "prompts")
    steps, loss = iter(range(17)), CoOp._loss
    monkeypatch.setattr(CoOp, "_loss", lambda self, *rest: (next(steps), loss(self, *rest))[1])
    with pytest.raises(StopIteration):
        fit(*QUICK, "--root", root)
    assert len(states) == 2
    monkeypatch.undo()
    _, result, _ = fit(*QUICK, "--root", root)
    assert result["training"]["steps"] == 4  # of 20, 10 of the first rate and 6 of the second were kept
    assert adapter_of(tmp_path / "fitted") == adapter_of(tmp_path / "whole")
    assert len(states) == 0


@pytest.mark.slow
def test_a_fit_that_was_killed_goes_on_to_equal_bits(fit, tmp_path):
    long = ("--param", "steps=600", "--param", "initial=a two")
    fit(*long, out="whole")
    command = [sys.executable, "-m", "evenly.flows", "fit", "--arrays", tmp_path / "file.npz", "--adapter", "coop"]
    command += ["--root", tmp_path / "root", "--out", tmp_path / "fitted", *long]
    for _ in range(3):
        process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        states = tmp_path / "root" / "refined" / "running" / "prompts"
        before = {path: path.stat().st_mtime_ns for path in states.glob("*")}
        until = time.monotonic() + 60
        while {path: path.stat().st_mtime_ns for path in states.glob("*")} == before and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    _, result, _ = fit(*long)
    assert 0 < result["training"]["steps"] < 1200
    assert adapter_of(tmp_path / "fitted") == adapter_of(tmp_path / "whole")
    assert not [*states.glob("*.safetensors")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": None}, "must hold `prototypes`, `encoder` and `classes`; got none for `encoder` and"),
        ({"classes": None}, "`classes`; got none for `encoder` and `classes`. Add them, or choose another"),
        ({"classes": np.array(["cat", "fox " * 30, "owl"])}, "`names` must fit the 12 tokens of the text tower beside"),
        (
            {"encoder": np.array(["pixels", "", "ab"])},
            "`model` must be `embedded`, `embedded2` or a model of",
        ),
    ],
    ids=["no encoder", "no names", "a long name", "an unknown encoder"],
)
def test_what_a_file_lacks_is_said_in_a_line(fit, changes, message):
    status, _, err = fit(*QUICK, **changes)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_another_encoder_is_refused_and_a_leaderboard_leaves_prompts_out(fit, evenly, content, tmp_path):
    model, _, identity = content["encoder"]
    changed = np.array([model, "", "ab" * 32])
    status, _, err = fit(*QUICK, encoder=changed)
    assert status == 2
    line = f"must be the one that made the features, abababababab; `{model}` is {identity[:12]} here. Extract"
    assert line in err
    arguments = ["leaderboard", "--arrays", tmp_path / "file.npz", "--adapter", "gda", "--adapter", "coop"]
    arguments += ["--shots", 1, "--seeds", 1, "--workers", 1, "--root", tmp_path / "root", "--json"]
    status, out, err = evenly(*arguments)
    assert status == 0, err
    (board,) = json.loads(out)["leaderboards"]
    assert {row["name"] for row in board["summary"]} == {"zero_shot", "gda"}
    assert [row["name"] for row in board["skipped"]] == ["coop"]
    assert line in board["skipped"][0]["reason"]


def test_features_of_a_refined_encoder_train_through_it_where_the_workspace_has_it(fit, content, tmp_path):
    model, _, base = content["encoder"]
    draw = np.random.default_rng(1)
    heads = Heads(**{name: draw.normal(size=rows.shape).astype(np.float32) for name, rows in NO_HEADS.items()})
    card = {"base": str(base), "encoder": {"model": str(model)}, "build": "some-1", "rule": {}, "notes": {}}
    workspace = Workspace(tmp_path / "root")
    refined_encoders_of(workspace).put("mine", card, heads.to_bytes(), made_of={}, force=True)
    named = np.array([model, "", heads_identity(str(base), heads.to_bytes())])
    status, result, err = fit(*QUICK, encoder=named)
    assert status == 0, err
    assert result["metrics"]["n"] == 90
    assert json.loads((tmp_path / "fitted" / "adapter.json").read_text())["learned"]["tower_"] == named[2]
    refined_encoders_of(workspace).folder.joinpath("mine.json").unlink()
    status, _, err = fit(*QUICK, "--force", encoder=named)
    assert (status, err.count("\n")) == (2, 1)
    assert "or name the workspace that has the refined encoder of theirs: --root" in err


EVERY = {
    "initial": "", "n_context": 3, "place": "front", "per_class": True, "steps": 5, "batch_size": 7,
    "learning_rate": 0.5, "weight_decay": 0.1, "stop": 0.4, "seed": 4, "logit_scale": 50.0,
}  # fmt: skip


def test_every_hyper_parameter_can_be_given(fit):
    assert {*EVERY} == {*CoOp().get_params()}
    given = [word for name, value in EVERY.items() for word in ("--param", f"{name}={value}")]
    status, result, err = fit(*given)
    assert status == 0, err
    assert result["parameters"] == EVERY == result["given"]
    status, _, err = fit("--param", "initial=a", *given[2:], out="never")
    assert (status, "`n_context` must stand beside an empty `initial`" in err) == (2, True)
    for name, value in {"place": "left", "steps": 0, "n_context": 0, "stop": 2, "learning_rate": -1}.items():
        status, _, err = fit("--param", f"{name}={value}", out="never")
        assert status == 2
        assert f"`{name}` must" in err


def test_base_to_new_trains_prompts_and_leaves_no_state(fit, evenly, tmp_path):
    fit(*QUICK)
    root = ("--root", tmp_path / "root")
    status, out, err = evenly("base-to-new", tmp_path / "file.npz", "--adapter", "coop", *QUICK, *root, "--json")
    assert status == 0, err
    (row,) = json.loads(out)["data_sets"]
    assert (row["base_rows"], row["new_rows"]) == (60, 30)
    assert not [*(tmp_path / "root" / "refined").rglob("*.safetensors")]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_leaderboard_trains_prompts_and_leaves_no_state(fit, evenly, tmp_path, workers):
    fit(*QUICK)
    board = ("--arrays", tmp_path / "file.npz", "--adapter", "coop", "--adapter", "gda", "--shots", 1, "--seeds", 1)
    place = ("--workers", workers, "--root", tmp_path / "root")
    status, out, err = evenly("leaderboard", *board, *place, "--json")
    assert status == 0, err
    assert [row["name"] for row in json.loads(out)["leaderboards"][0]["summary"]] == ["zero_shot", "coop", "gda"]
    assert not [*(tmp_path / "root" / "refined").rglob("*.safetensors")]


@pytest.mark.parametrize("per_class", [False, True])
def test_words_near_what_was_learned_are_shown_and_escaped(fit, evenly, tmp_path, per_class):
    names = np.array(["cat", "red \x1b[31mfox", "owl"])
    given = ("--param", f"per_class={per_class}", "--param", "learning_rate=1e-6", "--param", "stop=1.0")
    status, _, err = fit(*QUICK, *given, classes=names)
    assert status == 0, err
    arguments = ("descriptions", "show", tmp_path / "fitted")
    shown = json.loads(evenly(*arguments, "--json")[1])
    assert {name: shown[name] for name in ("adapter", "place")} == {"adapter": "coop", "place": "end"}
    assert [row["class"] for row in shown["words"]] == (
        [name for name in names for _ in "ab"] if per_class else ["", ""]
    )
    assert [row["vector"] for row in shown["words"][:2]] == [1, 2]
    assert [row["word"].strip("</w>") for row in shown["words"][:2]] == ["a", "two"]  # a small rate moves them little
    of_owl = json.loads(evenly(*arguments, "--class", "owl", "--json")[1])["words"]
    assert of_owl == (shown["words"][4:] if per_class else shown["words"])
    status, out, _ = evenly(*arguments)
    assert status == 0
    assert "\x1b[31m" not in out
    assert ("red" in out) == per_class
    status, _, err = evenly(*arguments, "--class", "dog")
    assert (status, err.count("\n")) == (2, 1)
    assert "`--class` must be a class of the adapter; got `dog`" in err


def test_an_adapter_without_prompts_has_no_words(fit, evenly, content, tmp_path):
    near = [content["test_features"][place::3].mean(axis=0) for place in range(3)]
    fit(*QUICK, "--guard", prototypes=unit_rows(np.stack(near)))
    status, _, err = evenly("descriptions", "show", tmp_path / "fitted" / "adapter.json")
    assert status == 2
    assert "must be an adapter that learned prompts; got `zero_shot`, where validation kept zero-shot" in err


def test_a_leaderboard_that_names_no_adapters_leaves_prompt_learners_out_and_says_so(monkeypatch):
    plans = []
    board = "evenly.flows.cli.adapters.leaderboard.array_leaderboard"
    monkeypatch.setattr(board, lambda _arrays, plan, _options: plans.append(plan) or {})
    left_out = evenly.leaderboard(arrays="own.npz")["run_where_named"]
    assert set(left_out) == {"coop", "gopro", "osloprompt", "clipn", "cpe"}
    assert not set(left_out) & set(plans[0].adapters)
    assert evenly.leaderboard(arrays="own.npz", adapter=["coop"])["run_where_named"] == []
    assert plans[1].adapters == ("coop",)
