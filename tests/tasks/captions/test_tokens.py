"""The tokens of the captions of kept pairs are counted per source."""

import json

import pytest
import yaml

from evenly.storage.builds import Builds
from evenly.tasks.captions.tokens import audit_tokens
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from tests.labelled_build import WordEncoder
from tests.searched_build import Pair, publish

PAIRS = [
    *(Pair("word " * words, f"thing {words}", source="web") for words in (1, 5, 18, 19, 28, 29)),
    Pair("word " * 100, "long", reason="too_long", source="web"),
    Pair("two words", "short", source=None),
]


@pytest.fixture
def manifest(workspace, monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    return publish(workspace, PAIRS)


def test_captions_of_kept_pairs_are_counted_per_source(workspace, manifest, monkeypatch):
    monkeypatch.setattr("evenly.tasks.captions.tokens.CHUNK", 2)
    facts = audit_tokens(Run(workspace=workspace, seed=7, progress=Progress(quiet=True)), manifest)
    assert (facts["context"], facts["effective"]) == (30, 20)
    unnamed, web = facts["sources"]
    assert unnamed == {
        "source": "", "column": "caption", "captions": 1, "median": 4, "p90": 4, "p99": 4, "longest": 4,
        "over_effective": 0, "over_context": 0,
    }  # fmt: skip
    assert web == {
        "source": "web", "column": "caption", "captions": 6, "median": 20, "p90": 31, "p99": 31, "longest": 31,
        "over_effective": 3, "over_context": 1,
    }  # fmt: skip


def test_the_command_shows_shares(workspace, manifest, tmp_path, monkeypatch, capsys):
    from evenly.flows.cli import app
    from tests.reported import report_errors

    Builds(workspace).promote(manifest["build"], recipe=manifest["recipe_name"])
    recipe = tmp_path / "some.yaml"
    sources = [{"kind": "parquet", "path": "pool.parquet"}]
    recipe.write_text(yaml.safe_dump({"name": manifest["recipe_name"], "seed": 7, "sources": sources, "curate": {}}))
    command = ["evenly", "encoders", "tokens", str(recipe), "--root", str(workspace.root)]
    monkeypatch.setattr("sys.argv", command)
    assert report_errors(app) == 0
    out = capsys.readouterr().out
    assert "50.0%" in out
    assert "│ web    │ caption │        6 │" in out  # a table of 80 columns, and no list of facts
    assert "reads 30 tokens" in out
    monkeypatch.setattr("sys.argv", [*command, "--json"])
    assert report_errors(app) == 0
    assert json.loads(capsys.readouterr().out)["sources"][1]["over_context"] == 1
