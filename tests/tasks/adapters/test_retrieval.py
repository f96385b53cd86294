"""Retrieval of a build's own pairs by its encoder, on pictures as numbers."""

import json

import pytest
import yaml

from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.tasks.adapters.retrieval import measure_retrieval
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


@pytest.fixture
def manifest(workspace):
    """Two pictures of each of five things, and one that shares the caption of another."""
    names = ["cat", "dog", "ship", "whale", "tree"]
    pictures = [
        Picture(name, {name: 1.0, f"of {number}": 0.3}, "train", f"a photo of a {name}")
        for name in names
        for number in range(2)
    ]
    publish(workspace, [*pictures, Picture("", {"car": 1.0}, "train", "a photo of a cat")])
    return Builds(workspace).read("some-1")


def test_captions_of_several_pictures_belong_to_all_of_them(workspace, manifest):
    facts = measure_retrieval(Run(workspace=workspace, seed=7), manifest, pairs=100)
    assert (facts["pairs"], facts["of"]) == (11, 11)
    rows = {row["direction"]: row for row in facts["directions"]}
    assert list(rows) == ["text to picture", "picture to text", "picture to picture of its label"]
    texts, pictures, labels = rows.values()
    assert (texts["queries"], texts["gallery"]) == (5, 11)
    assert (pictures["queries"], pictures["gallery"]) == (11, 5)
    assert (labels["queries"], labels["gallery"]) == (10, 10)
    assert texts["r_at_1"][0] == labels["r_at_1"][0] == 1
    assert pictures["r_at_1"][0] in {round(10 / 11, 4), 1.0}
    assert 0.8 < texts["auc"][0] <= 1
    assert 0 < facts["matched_cosine"] <= 1
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_fewer_pairs_are_the_first_by_uid(workspace, manifest):
    facts = measure_retrieval(Run(workspace=workspace, seed=7), manifest, pairs=2)
    assert (facts["pairs"], facts["of"]) == (2, 11)
    with pytest.raises(InputError, match="`pairs` must be at least 2; got 1"):
        measure_retrieval(Run(workspace=workspace, seed=7), manifest, pairs=1)


def test_the_command_shows_each_direction(workspace, manifest, tmp_path, monkeypatch, capsys):
    from evenly.flows.cli import app
    from evenly.flows.cli.errors import report_errors

    Builds(workspace).promote(manifest["build"], recipe="some")
    recipe = tmp_path / "some.yaml"
    sources = [{"kind": "parquet", "path": "pool.parquet"}]
    recipe.write_text(yaml.safe_dump({"name": "some", "seed": 7, "sources": sources, "curate": {}}))
    command = ["evenly", "evaluate", str(recipe), "--retrieval", "--root", str(workspace.root)]
    monkeypatch.setattr("sys.argv", command)
    assert report_errors(app) == 0
    out = capsys.readouterr().out
    assert "text to picture" in out
    assert "11 of 11 pairs, 95 % intervals" in out
    assert "modality gap" in out
