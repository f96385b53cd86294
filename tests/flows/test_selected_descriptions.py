"""DisCLIP by command: what the audit of descriptions selects is evaluated, saved and competes in a leaderboard."""

import json

import pytest
import yaml
from chat_server import tiny_server
from labelled_build import Picture, WordEncoder, publish

from storage.builds import Builds
from storage.ledger import Ledger

pytestmark = pytest.mark.usefixtures("prefect_server")

PHRASES = {
    "cat": ["has long whiskers", "has pointed ears"],
    "dog": ["has a wagging tail", "has floppy ears"],
    "ship": ["has tall sails", "has a wooden hull"],
    "spoon": [],
}


@pytest.fixture
def ask(evenly, workspace, tmp_path, monkeypatch):
    """Run a command on a recipe of four described classes whose pictures show what is said of them."""
    monkeypatch.setattr("tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    near = {"cat": "dog", "dog": "cat", "ship": "spoon", "spoon": "ship"}
    pictures = [
        Picture(name, {name: 1.0, near[name]: 1.3, (PHRASES[name] or ["has a handle"])[number % 2 - 1]: 2.0}, part)
        for name in PHRASES
        for part in ("train", "val", "test")
        for number in range(5)
    ]
    split = publish(workspace, pictures)
    Builds(workspace).promote("some-1", recipe="some")
    (tmp_path / "things.txt").write_text("\n".join(PHRASES) + "\n")
    with tiny_server() as server:

        def answer(request, _before):
            name = json.loads(request["messages"][0]["content"].partition("\n")[0])["class"]
            return server.features(*(PHRASES[name] or ["nice"]))

        server.answer = answer
        listing = {"list": "things.txt", "methods": ["description"], "adapters": ["disclip"]}
        recipe = {
            "name": "some",
            "seed": 7,
            "sources": [{"kind": "csv", "path": "p.csv"}],
            "curate": {"balance": {"t": 5}},
            "labels": {"file": "labels.csv", "split": split},
            "llm": {"base_url": server.url, "model": "tiny"},
            "classes": [listing | {"templates": ["a photo of a {}"]}],
        }
        (tmp_path / "some.yaml").write_text(yaml.safe_dump(recipe))

        def run(*arguments):
            status, out, err = evenly(*arguments, "--root", workspace.root, "--json")
            assert status == 0, err
            return json.loads(out)

        list_file = tmp_path / "things.txt"
        run("describe", list_file, "--method", "description", "--base-url", server.url, "--model", "tiny")
        yield run


def test_what_the_audit_selects_is_an_adapter_that_is_evaluated_and_competes(ask, tmp_path, workspace):
    recipe = tmp_path / "some.yaml"
    (audit,) = ask("descriptions", "audit", recipe, "--draws", "3")["audits"]
    found = ask("evaluate", recipe)["lists"][0]
    (record,) = Ledger(workspace).records("evaluate_adapters")
    points = Ledger(workspace).table(record, "curves").to_pylist()
    points = [row for row in points if (row["name"], row["texts"]) == ("disclip", "templates")]
    best = max(points, key=lambda row: (row["validation_accuracy"], row["name_weight"]))
    assert (len(points), best["name_weight"]) == (160, audit["name_weight"])
    results = {(row["name"], row["texts"]): row for row in found["results"]}
    selected = next(row for row in audit["accuracies"] if row["texts"] == "selected")
    assert not results["disclip", "templates"]["kept_zero_shot"]
    assert results["disclip", "templates"]["accuracy"] == pytest.approx(selected["accuracy"])
    assert selected["accuracy"] > results["zero_shot", "templates"]["accuracy"]
    options = ("--adapter", "disclip", "--shots", "1,2", "--seeds", "1", "--out", tmp_path / "board")
    board = ask("leaderboard", recipe, *options)["leaderboards"][0]
    assert {row["name"] for row in board["summary"]} == {"zero_shot", "disclip"}
    assert board["skipped"] == []
