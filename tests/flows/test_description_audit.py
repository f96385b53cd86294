"""`evenly descriptions audit` on a small build: which texts are judged, on which pictures, and that it repeats."""

import json
import shutil

import pytest
import yaml

from evenly.storage.ledger import Ledger
from evenly.storage.workspace import Workspace
from tests.chat_server import tiny_server

pytestmark = pytest.mark.embedded

CLASSES = ["person", "flag", "mammal", "polygon", "electronic device"]
PHRASES = {
    "person": ["has two arms and two legs", "has a round face"],
    "flag": ["has colored stripes", "has a flat cloth"],
    "mammal": ["has thick brown fur", "has a long tail", "has four short legs"],
    "polygon": ["has straight edges", "has sharp corners"],
    "electronic device": [],
}


@pytest.fixture(scope="module")
def audited(small_web, undisturbed, tmp_path_factory):
    """A copy of the workspace, a recipe and a class list."""
    folder = tmp_path_factory.mktemp("audited")
    shutil.copytree(undisturbed[0], folder / "workspace")
    (folder / "some.txt").write_text("\n".join(CLASSES) + "\n")
    recipe = yaml.safe_load(small_web.recipe.read_text())
    listing = {"list": "some.txt", "methods": ["description"], "adapters": ["vcd"], "aggregate": "max"}
    (folder / "small.yaml").write_text(yaml.safe_dump(recipe | {"classes": [listing]}))
    return folder


@pytest.fixture
def ask(audited, evenly):
    """A command's facts, or its status and error."""

    def run(*arguments):
        status, out, err = evenly(*arguments, "--root", audited / "workspace", "--json")
        return json.loads(out) if status == 0 else (status, err)

    return run


@pytest.fixture
def described(ask, audited):
    """The list, described by a server that says something else of each class and nothing of the last; its address."""
    with tiny_server() as server:

        def answer(request, _before):
            name = json.loads(request["messages"][0]["content"].partition("\n")[0])["class"]
            return server.features(*PHRASES[name]) if PHRASES[name] else server.features("nice")

        server.answer = answer
        ask("describe", audited / "some.txt", "--method", "description", "--base-url", server.url, "--model", "tiny")
        return server.url


def test_a_list_that_nobody_described_says_how(ask, audited):
    status, err = ask("descriptions", "audit", audited / "small.yaml")
    assert status == 1
    assert "evenly describe" in err


@pytest.mark.usefixtures("described")
def test_real_texts_stand_against_controls_on_the_same_test_pictures(ask, audited):
    (found,) = ask("descriptions", "audit", audited / "small.yaml", "--draws", "3")["audits"]
    assert (found["list"], found["method"], found["aggregate"], found["texts"]) == ("some", "description", "max", 9)
    assert found["without_texts"] == ["electronic device"]
    assert found["pictures"] > 5
    rows = {row["texts"]: row for row in found["accuracies"]}
    assert {name: row["draws"] for name, row in rows.items()} == {
        "names": 1,
        "captions": 1,
        "real": 1,
        "shuffled": 3,
        "random": 3,
        "selected": 1,
        "selected at random": 3,
    }
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in found["accuracies"])
    assert found["finding"] in {"meaning", "ensembling", "none", "harm"}
    assert ":" in found["verdict"]


@pytest.mark.slow
@pytest.mark.usefixtures("described")
def test_a_second_audit_finds_the_first_and_another_aggregate_is_another(ask, audited):
    first = ask("descriptions", "audit", audited / "small.yaml", "--draws", "3")["audits"]
    ledger = Ledger(Workspace.at(audited / "workspace"))
    steps = len(ledger.records("audit_descriptions"))
    assert ask("descriptions", "audit", audited / "small.yaml", "--draws", "3")["audits"] == first
    assert len(ledger.records("audit_descriptions")) == steps
    (by_list,) = ask("descriptions", "audit", audited / "some.txt", "--draws", "3")["audits"]
    assert by_list["aggregate"] == "mean_similarity"
    assert len(ledger.records("audit_descriptions")) == steps + 1


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--method", "prompts"), 2, "has none of them"),
        (("--aggregate", "median"), 2, "mean_embedding"),
        (("--build", "nothing"), 1, "nothing"),
    ],
)
def test_what_cannot_be_audited_is_one_clear_line(ask, audited, options, status, words):
    found = ask("descriptions", "audit", audited / "some.txt", *options)
    assert found[0] == status
    assert words in found[1]


def test_the_aggregate_of_a_recipe_reaches_the_evaluation_and_templates_are_a_set_of_texts(ask, audited, described):
    recipe = yaml.safe_load((audited / "small.yaml").read_text())
    listing = recipe["classes"][0] | {"templates": ["a photo of a {}", "a drawing of a {}"]}
    path = audited / "templates.yaml"
    path.write_text(yaml.safe_dump(recipe | {"classes": [listing], "llm": {"base_url": described, "model": "tiny"}}))
    rows = ask("evaluate", path)["lists"][0]["results"]
    assert {row["texts"] for row in rows if row["name"] == "zero_shot"} == {"names", "description", "templates"}
    assert {row["texts"] for row in rows if row["name"] == "vcd"} == {"names", "description", "templates"}
    (record,) = Ledger(Workspace.at(audited / "workspace")).records("evaluate_adapters")
    assert record.rule["aggregate"] == "max"
