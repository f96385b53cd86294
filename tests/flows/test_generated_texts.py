"""From generated texts to adapters and scores: pairs to FuDD, contexts to PerceptionCLIP, denials and near misses."""

import json

import pytest
import yaml

from evenly.storage.builds import Builds
from tests.chat_server import TinyServer, tiny_server
from tests.labelled_build import Picture, WordEncoder, publish

CLASSES = ["cat", "dog", "ship", "spoon"]
LISTING = {
    "list": "things.txt",
    "methods": ["differential", "contexts", "negations", "near_misses"],
    "adapters": ["fudd", "perceptionclip"],
    "pairs": {"top": 2, "cover": 1.0},
    "contexts": ["an icon of a {}"],
    "unseen": {"near": ["oak tree"]},
}
RECIPE = {
    "name": "some",
    "seed": 7,
    "sources": [{"kind": "csv", "path": "p.csv"}],
    "curate": {"download": {}},
}


def answer(request, _before):
    """What is asked for, by the key of its schema."""
    question = request["messages"][0]["content"]
    if "easily confused" in question:
        pair = [{"attribute": "tail", "first": "has a long striped tail", "second": "has a short white tail"}]
        return TinyServer.completion(json.dumps({"differences": pair * 2}))
    (key,) = request["response_format"]["json_schema"]["schema"]["properties"]
    values = ["lynx", "sea lion"] if key == "names" else [f"with {key} one", f"with {key} two"]
    return TinyServer.completion(json.dumps({key: values}))


@pytest.fixture
def ask(evenly, workspace, tmp_path, monkeypatch):
    """Run a command on a recipe of four classes and their build: the facts that it prints."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    near = {"cat": "dog", "dog": "cat", "ship": "spoon", "spoon": "ship", "oak tree": "cat"}
    pictures = [
        Picture(name, {name: 1.0, near[name]: 0.1 * number, f"{name} {part} {number}": 0.2}, part)  # no twin of another
        for name in [*CLASSES, "oak tree"]
        for part in ("train", "val", "test")
        for number in range(3)
    ]
    split = publish(workspace, pictures)
    Builds(workspace).promote("some-1", recipe="some")
    (tmp_path / "things.txt").write_text("\n".join(CLASSES) + "\n")
    with tiny_server() as server:
        server.answer = answer
        llm = {"base_url": server.url, "model": "tiny"}
        labels = {"file": "labels.csv", "split": split}
        recipe = tmp_path / "some.yaml"
        recipe.write_text(yaml.safe_dump(RECIPE | {"llm": llm, "labels": labels, "classes": [LISTING]}))

        def run(command, *arguments, as_json=True):
            names = {"recipe": recipe, "list": tmp_path / "things.txt", "url": server.url}
            chosen = [str(one).format(**names) for one in arguments]
            status, out, err = evenly(command, *chosen, "--root", workspace.root, *["--json"] * as_json)
            assert status == 0, err
            return json.loads(out) if as_json else out

        yield run


DESCRIBE = ("{list}", "--build", "{recipe}", "--base-url", "{url}", "--model", "tiny", "--pairs-top", 2)
DESCRIBE += ("--pairs-cover", 1, "--method", ",".join(LISTING["methods"]))


def test_generated_texts_reach_the_adapters_and_scores_that_use_them(ask):
    described = ask("describe", *DESCRIBE)
    assert 0 < described["pairs_asked"] < described["pairs_possible"] == 6
    found = ask("evaluate", "{recipe}")["lists"][0]
    texts = {(row["use"], row["source"]): row for row in found["texts"]}
    accepted = [row for row in described["descriptions"] if row["verdict"] == "accepted"]
    for use, method in {
        "pair_texts": "differential",
        "contexts": "contexts",
        "negations": "negations",
        "rejections": "near_misses",
    }.items():
        wanted = [row["text"] for row in accepted if row["method"] == method]
        assert texts[use, method]["texts"] == len(wanted if use == "pair_texts" else set(wanted)) > 0
    assert texts["contexts", "recipe"]["texts"] == 1
    assert texts["pair_texts", "differential"]["about"] == f"about {described['pairs_asked']} of 6 pairs of classes"
    assert [(row["name"], row["texts"]) for row in found["results"]] == [
        (name, "names") for name in ("zero_shot", *LISTING["adapters"])
    ]
    scores = {row["score"] for row in found["ood"] if not row["skipped"]}
    assert scores >= {"clipn_ctw", "clipn_atd", "near_miss", "near_miss_max"}
    assert {row["score"] for row in found["open_set"]} >= {"msp", "near_miss"}
    assert {row["set"] for row in found["open_set"]} == {"near", "all"}
    assert any(note.startswith("contexts: 1 by hand in the recipe, ") for note in found["notes"])


def test_a_list_that_was_not_described_is_said_to_be_so_and_tells_no_pairs_apart(ask):
    found = ask("evaluate", "{recipe}")["lists"][0]
    assert any(note.startswith("the list has not been described as the recipe says") for note in found["notes"])
    assert "pair texts: 0 by the method differential (about 0 of 0 pairs of classes)" in found["notes"]
    assert next(row for row in found["results"] if row["name"] == "fudd")["kept_zero_shot"]


@pytest.mark.slow
def test_rejecting_prints_open_set_accuracy_at_a_threshold_of_validation(ask):
    ask("describe", *DESCRIBE)
    rows = ask("evaluate", "{recipe}")["lists"][0]["open_set"]
    (best,) = {row["score"] for row in rows if row["chosen"]}
    one = next(row for row in rows if row["chosen"] and row["set"] == "all")
    total = one["closed"] + one["opened"]
    assert one["h"] == pytest.approx(2 * one["closed"] * one["opened"] / total if total else 0.0)
    out = ask("evaluate", "{recipe}", "--reject", as_json=False)
    assert "rejected below a threshold" in out
    assert f"{best} *" in out
    assert "rejected below a threshold" not in ask("evaluate", "{recipe}", as_json=False)
