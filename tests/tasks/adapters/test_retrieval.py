"""Retrieval of a build's own pairs by an encoder, on pictures as numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from evenly.audit.report.probes import read_probes
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.files.arrays import write_arrays
from evenly.storage.ledger import Ledger
from evenly.tasks.adapters.probes import MEASURE_RETRIEVAL, PairRetrievalRule, PartOfList, retrieval_facts
from evenly.tasks.labelled_rows import paired_features
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from evenly.tasks.stage import run_step
from evenly.tasks.verify_and_report import _newest_of_build
from tests.labelled_build import Picture, WordEncoder, publish


class OtherEncoder(WordEncoder):
    """Texts of the same words, by an encoder of another identity that cannot tell them apart."""

    identity = "1" * 64

    def encode_texts(self, texts, *, progress=None):
        del progress
        return np.ones((len(texts), self.dimension), np.float32)

    def encode_images(self, images, *, progress=None):
        del progress
        return np.ones((len(images), self.dimension), np.float32)


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


@pytest.fixture
def manifest(workspace):
    """Two pictures of each of five things, one in train and one in test, and one that shares the caption of another."""
    names = ["cat", "dog", "ship", "whale", "tree"]
    pictures = [
        Picture(name, {name: 1.0, f"of {number}": 0.3}, ("train", "test")[number], f"a photo of a {name}")
        for name in names
        for number in range(2)
    ]
    split = publish(workspace, [*pictures, Picture("", {"car": 1.0}, "train", "a photo of a cat")])
    Path(split).rename(workspace.root / "split.csv")
    return Builds(workspace).read("some-1")


def run_in(workspace):
    return Run(workspace=workspace, seed=7, folder=workspace.root, progress=Progress(quiet=True))


def measure(workspace, **rule):
    run = run_in(workspace)
    return retrieval_facts(run, run_step(run, MEASURE_RETRIEVAL, (), PairRetrievalRule(build="some-1", **rule)))


@pytest.mark.usefixtures("manifest")
def test_captions_of_several_pictures_belong_to_all_of_them(workspace):
    facts = measure(workspace)
    assert (facts["pairs"], facts["of"]) == (11, 11)
    rows = {row["direction"]: row for row in facts["directions"]}
    assert list(rows) == [
        *("text to picture", "picture to text", "picture to picture of its label", "random text to picture")
    ]
    texts, pictures, labels, random = rows.values()
    assert (texts["queries"], texts["gallery"]) == (5, 11)
    assert (pictures["queries"], pictures["gallery"]) == (11, 5)
    assert (labels["queries"], labels["gallery"]) == (10, 10)
    assert texts["r_at_1"] == labels["r_at_1"] == 1
    assert pictures["r_at_1"] in {round(10 / 11, 4), 1.0}
    assert 0.8 < texts["auc"] <= 1
    assert (random["queries"], random["gallery"]) == (5, 11)
    assert random["auc"] < texts["auc"]
    assert 0 < facts["matched_cosine"] <= 1
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


@pytest.mark.usefixtures("manifest")
def test_fewer_pairs_are_the_first_by_uid_and_nothing_else_is_read(workspace, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "evenly.tasks.adapters.probes.image_rows",
        lambda _run, store, ids: asked.extend(ids.to_pylist()) or store.read(ids)[0],
    )
    facts = measure(workspace, pairs=2)
    assert (facts["pairs"], facts["of"], len(asked)) == (2, 11, 2)
    with pytest.raises(InputError, match="`pairs` must be at least 2; got 1"):
        measure(workspace, pairs=1)


@pytest.mark.usefixtures("manifest")
def test_a_part_is_that_of_the_split_of_a_class_list(workspace):
    of_list = {"list": "things", "classes": ("cat", "dog", "ship", "whale", "tree"), "split": "split.csv"}
    facts = measure(workspace, part=PartOfList(**of_list, part="test"))
    assert (facts["list"], facts["part"], facts["pairs"], facts["of"]) == ("things", "test", 5, 5)
    with pytest.raises(InputError, match="got 0 in the part `val` of list `things`"):
        measure(workspace, part=PartOfList(**of_list, part="val"))


@pytest.mark.usefixtures("manifest")
def test_the_report_reads_what_was_measured_of_the_whole_build(workspace):
    measure(workspace, part=PartOfList(list="things", classes=("cat", "dog"), split="split.csv", part="test"))
    ledger = Ledger(workspace)
    assert _newest_of_build(ledger, "measure_retrieval", "some-1") == []
    measure(workspace)
    records = _newest_of_build(ledger, "measure_retrieval", "some-1")
    assert read_probes(ledger, records)["retrieval"]["about"]["pairs"] == 11


@pytest.fixture
def command(workspace, manifest, tmp_path, monkeypatch, capsys):
    """Runs `evenly` with arguments on a recipe whose latest build is `manifest`; what it prints."""
    from evenly.flows.cli import app
    from tests.reported import report_errors

    Builds(workspace).promote(manifest["build"], recipe="some")
    recipe = tmp_path / "some.yaml"
    sources = [{"kind": "parquet", "path": "pool.parquet"}]
    recipe.write_text(yaml.safe_dump({"name": "some", "seed": 7, "sources": sources, "curate": {}}))

    def run(*arguments, fails=False):
        arguments = [str(recipe) if argument == "RECIPE" else str(argument) for argument in arguments]
        monkeypatch.setattr("sys.argv", ["evenly", *arguments, "--root", str(workspace.root)])
        assert (report_errors(app) != 0) is fails
        captured = capsys.readouterr()
        return captured.err if fails else captured.out

    return run


def test_the_command_shows_each_direction(command):
    out = command("evaluate", "RECIPE", "--retrieval")
    assert "picture to label" in out
    assert "random text" in out
    assert "11 of 11 pairs, 95 % intervals" in out
    assert "modality gap" in out


def test_encoders_are_compared_on_the_same_pairs(command, monkeypatch, tmp_path):
    encoders = {"embedded": WordEncoder(), "other": OtherEncoder()}
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda choice, _cache: encoders[choice.model])
    monkeypatch.setattr("evenly.tasks.pictures.sent_rows.find_places", lambda *_: None)
    monkeypatch.setattr("evenly.tasks.pictures.encoded.read_images", lambda _folder, ids, _places: [b""] * len(ids))
    out = tmp_path / "board"
    arguments = ("--encoder", "embedded", "--encoder", "other bf16-weights", "--out", out)
    result = json.loads(command("leaderboard", "RECIPE", *arguments, "--json"))
    first, second = ({row["direction"]: row for row in board["directions"]} for board in result["encoders"])
    assert first["text to picture"]["r_at_1"] == 1
    assert second["text to picture"]["auc"] == 0.5
    assert (out / "encoders.svg").read_text("utf-8").startswith("<svg")
    assert (out / "encoders.csv").read_text("utf-8").count("\n") == 1 + len(first) + len(second)
    assert json.loads((out / "encoders.json").read_text("utf-8"))["encoders"] == result["encoders"]
    assert "`--encoder` must be a model" in command("leaderboard", "RECIPE", "--encoder", "a b fp64", fails=True)


def test_a_file_of_pairs_is_measured_as_the_build_that_it_is_of(command, workspace, manifest, tmp_path):
    file = tmp_path / "pairs.npz"
    write_arrays(file, paired_features(run_in(workspace), manifest))
    (of_file,) = json.loads(command("evaluate", "--arrays", file, "--retrieval", "--json"))["retrieval"]
    of_build = measure(workspace)
    for name in ("pairs", "matched_cosine", "modality_gap"):
        assert of_file[name] == of_build[name]
    for one, other in zip(of_file["directions"][:3], of_build["directions"][:3], strict=True):
        numbers = {name for name in one if not name.endswith(("_low", "_high"))}
        assert {name: one[name] for name in numbers} == {name: other[name] for name in numbers}
    assert "`--arrays` and `--part` must stand with `--retrieval`" in command("evaluate", "--arrays", file, fails=True)
