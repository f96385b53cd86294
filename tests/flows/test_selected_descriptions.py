"""DisCLIP by command: what the audit of descriptions selects is evaluated, saved and competes in a leaderboard."""

import json

import pytest
import yaml

from evenly.storage.builds import Builds
from evenly.storage.ledger import Ledger
from tests.chat_server import tiny_server
from tests.labelled_build import Picture, WordEncoder, publish

PHRASES = {
    "cat": ["has long whiskers", "has pointed ears"],
    "dog": ["has a wagging tail", "has floppy ears"],
    "ship": ["has tall sails", "has a wooden hull"],
    "spoon": [],
}


@pytest.fixture
def ask(evenly, workspace, tmp_path, monkeypatch):
    """Run a command on a recipe of four described classes whose pictures show what is said of them."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    near = {"cat": "dog", "dog": "cat", "ship": "spoon", "spoon": "ship"}

    def shown(name, number):
        return {name: 1.0, near[name]: 1.3, (PHRASES[name] or ["has a handle"])[number % 2 - 1]: 2.0}

    pictures = [
        Picture(name, shown(name, number) | {f"{part} {number}": 0.2}, part)  # its own words: no twin of another
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
            "curate": {"download": {}},
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


def test_on_a_build_texts_that_help_stay_and_evaluation_and_leaderboard_say_so(ask, tmp_path):
    recipe = tmp_path / "some.yaml"
    url = yaml.safe_load(recipe.read_text())["llm"]["base_url"]
    options = ("--method", "description", "--base-url", url, "--model", "tiny", "--build", recipe)
    described = ask("describe", tmp_path / "things.txt", *options)
    (about,) = described["selection"]
    shown = ask("descriptions", "show", described["selection_step"][:12])
    assert (about["texts"], len(shown["rows"])) == (described["accepted"], about["stay"])
    sentence = "texts of description, chosen by the labels of 20 train and 20 val pictures:"
    evaluated = ask("evaluate", recipe)["lists"][0]
    assert [note for note in evaluated["notes"] if note.startswith(sentence)], (about, evaluated["notes"])
    board = ("--adapter", "disclip", "--shots", "1", "--seeds", "1", "--out", tmp_path / "board")
    assert any(note.startswith(sentence) for note in ask("leaderboard", recipe, *board)["leaderboards"][0]["notes"])
    assert ask("describe", tmp_path / "things.txt", *options)["selection_step"] == described["selection_step"]


def test_texts_edited_by_hand_read_back_in_and_are_used_with_their_provenance(ask, tmp_path, workspace):
    listing, file = tmp_path / "things.txt", tmp_path / "edited.csv"
    exported = ask("descriptions", "export", listing, "--to", "csv", "--out", file)
    assert (exported["texts"], exported["fallbacks"]) == (6, ["spoon"])
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], "spoon,description,a handle", "spoon,description,a handle"]) + "\n")
    found = ask("descriptions", "import", file, "--classes", listing)
    assert (found["accepted"], found["rejected"], found["undescribed"]) == (6, {"repeats": 1}, [])
    assert ask("descriptions", "import", file, "--classes", listing)["step"] == found["step"]
    shown = ask("descriptions", "show", found["step"][:12], "--class", "spoon")
    assert (shown["endpoint"], [row["text"] for row in shown["rows"]]) == ("edited", ["spoon, which is a handle"])
    again = ask("descriptions", "export", found["step"], "--to", "csv", "--out", tmp_path / "again.csv")
    assert again["texts"] == 6
    recipe = tmp_path / "some.yaml"
    rule = yaml.safe_load(recipe.read_text())
    rule["classes"][0]["given"] = "edited.csv"
    recipe.write_text(yaml.safe_dump(rule))
    evaluated = ask("evaluate", recipe)["lists"][0]
    about = next(row for row in evaluated["texts"] if row["source"] == "description")
    assert (about["texts"], about["about"][:31]) == (6, "edited by hand: edited.csv, sha")
    assert f"texts of description: {about['about']}" in evaluated["notes"]
    (card,) = (workspace.adapters / "some-1" / "things").glob("disclip-description.json")
    given = json.loads(card.read_text())["given"]
    assert (given["file"], given["methods"], given["step"]) == ("edited.csv", ["description"], found["step"])
    options = ("--adapter", "disclip", "--shots", "1", "--seeds", "1", "--out", tmp_path / "board")
    assert ask("leaderboard", recipe, *options)["leaderboards"][0]["skipped"] == []


@pytest.mark.slow
def test_leaderboards_of_several_lists_have_a_folder_each(ask, tmp_path):
    recipe = tmp_path / "some.yaml"
    rule = yaml.safe_load(recipe.read_text())
    (tmp_path / "objects.txt").write_text("ship\nspoon\n")
    rule["classes"] = [{"list": name, "templates": ["a photo of a {}"]} for name in ("things.txt", "objects.txt")]
    recipe.write_text(yaml.safe_dump(rule))
    out = tmp_path / "boards"
    options = ("--adapter", "tip", "--shots", "1", "--seeds", "1", "--out", out)
    boards = ask("leaderboard", recipe, *options)["leaderboards"]
    assert [board["out"] for board in boards] == [str(out / "things"), str(out / "objects")]
    titles = [json.loads((out / name / "leaderboard.json").read_text())["title"] for name in ("things", "objects")]
    assert titles == ["things", "objects"]


def test_edited_texts_of_a_class_that_is_not_there_are_a_usage_error(evenly, workspace, tmp_path):
    (tmp_path / "things.txt").write_text("cat\n")
    (tmp_path / "bad.csv").write_text("class,method,phrase\ndog,description,fur\n")
    status, _, err = evenly(
        "descriptions", "import", tmp_path / "bad.csv", "--classes", tmp_path / "things.txt", "--root", workspace.root
    )
    assert (status, len(err.splitlines())) == (2, 1)
    assert "`class` must be of the list; got 'dog' at line 2" in err
