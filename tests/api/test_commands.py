"""Commands as functions: each gives what its command prints with `--json`, and raises its errors."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import evenly
from evenly.flows.cli import app
from evenly.flows.cli.errors import UsageError
from evenly.storage.files.arrays import write_arrays


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Features of three classes as a file, and a class list."""
    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(0)
    prototypes = np.eye(3, 8, dtype=np.float32)
    arrays = {"prototypes": prototypes, "classes": np.array(["robin", "wren", "kingfisher"])}
    for part in ("train", "val", "test"):
        labels = np.arange(24) % 3
        rows = prototypes[labels] + random.normal(scale=0.3, size=(24, 8)).astype(np.float32)
        arrays[f"{part}_features"] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        arrays[f"{part}_labels"] = labels
    write_arrays(folder / "own.npz", arrays)
    (folder / "birds.txt").write_text("robin\nwren\nkingfisher\n")
    return folder


def printed(*words):
    """What a command prints with `--json`."""
    done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def as_printed(value):
    return json.loads(json.dumps(value, default=str))


def test_adapters_are_fitted_and_compared_on_own_features(folder):
    own, fitted = folder / "own.npz", folder / "fitted"
    facts = evenly.fit(arrays=own, adapter="gda", out=str(fitted), root=folder / "w")
    assert facts["metrics"]["accuracy"] > 0.8
    assert as_printed(facts) == printed("fit", "--arrays", own, "--adapter", "gda", "--out", fitted)
    assert "It was made of files of a user." in evenly.model_card(str(fitted))["markdown"]
    exported = evenly.export_adapter(fitted, folder / "classifier.npz")
    assert as_printed(exported) == printed("export-adapter", fitted, "--out", folder / "classifier.npz")
    few = {"adapter": ["gda"], "shots": "2", "seeds": "1", "workers": 1}
    (board,) = evenly.leaderboard(arrays=own, root=folder / "w", out=folder / "board", **few)["leaderboards"]
    assert [row["shots"] for row in board["summary"] if row["name"] == "gda"] == [2]
    assert (folder / "board" / "leaderboard.csv").is_file()


@pytest.mark.usefixtures("colours")
def test_pictures_are_retrieved_counted_and_clustered(birds, folder):
    support = evenly.retrieve(folder / "birds.txt", per_class=2, root=birds.root, out=folder / "support")
    assert {row["class"]: row["kept"] for row in support["classes"]} == {"robin": 2, "wren": 2, "kingfisher": 2}
    assert (folder / "support" / "support.npz").is_file()
    counts = evenly.concepts(str(folder / "birds.txt"), build="latest", root=birds.root)
    assert all(row["actual_freq"] for row in counts["classes"])
    clusters = evenly.clusters(k=3, labels=2, root=str(birds.root))
    assert as_printed(clusters) == printed("clusters", "--k", "3", "--labels", "2", "--root", birds.root)


def test_a_workspace_is_looked_at(birds):
    assert as_printed(evenly.card(root=birds.root)) == printed("card", "--root", birds.root)
    assert "findings" in evenly.doctor(root=birds.root)
    assert evenly.clean(root=birds.root)["done"] is False
    assert evenly.forget("example.org", root=birds.root)["pairs"] == 0
    build = next(iter(birds.builds)).id
    latest = birds.builds["latest"].id
    assert evenly.promote(build, root=birds.root) == {"latest": build}
    assert evenly.promote(latest, root=birds.root) == {"latest": latest}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: evenly.clusters(k=2, labels=3), "`--labels` must be at most `--k`, 2; got 3"),
        (evenly.fit, "`fit` must get a recipe or `--arrays`"),
        (lambda: evenly.evaluate("r.yaml"), "recipe `r.yaml` must be a readable file"),
        (lambda: evenly.worth("r.yaml", seeds=0), "`seeds` must be at least 1; got `0`"),
        (lambda: evenly.refine("r.yaml", "name", towers=300), "`towers` must be 0 to 256; got `300`"),
        (lambda: evenly.retrieve("birds.txt", method="t3t"), "`--method` must be one of t2t"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_as_the_command_says_it(call, error):
    with pytest.raises(ValueError, match=error):
        call()


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="colour"):
        evenly.fit("r.yaml", colour="red")


@pytest.mark.usefixtures("colours")
def test_summary_facts_cards_and_exports_say_the_same_numbers(birds, folder):
    facts = evenly.facts(root=birds.root)
    assert as_printed(facts) == printed("facts", "--root", birds.root)
    assert evenly.facts("latest", "pairs", root=birds.root) == {"build": facts["build"], "pairs": facts["pairs"]}
    (folder / "me.yaml").write_text("name: Ada\n")
    summary = evenly.summary(provider=folder / "me.yaml", root=birds.root)
    sizes = next(field["recorded"] for field in summary["fields"] if field["question"] == "Training data size: image")
    assert f"({facts['pictures']:,} different pictures of {facts['picture_bytes']:,} bytes)" in sizes
    assert not next(field["must_say"] for field in summary["fields"] if field["provided"] == "Ada")
    for ending in ("md", "html", "json"):
        written = evenly.summary(out=folder / f"summary.{ending}", root=birds.root)["written"]
        assert f"{facts['picture_bytes']:,}" in (folder / f"summary.{ending}").read_text()
        assert written == str(folder / f"summary.{ending}")
    build = evenly.open(birds.root).builds["latest"]
    build.export("huggingface", out=folder / "hf")
    card = (folder / "hf" / "README.md").read_text()
    assert all(f"| {row['domain']} | {row['pairs']:,} |" in card for row in facts["domains"])
    assert "pretty_name" in card.split("---")[1]
    with pytest.raises(UsageError, match=r"`fact` must be one of build, "):
        evenly.facts("latest", "pears", root=birds.root)
