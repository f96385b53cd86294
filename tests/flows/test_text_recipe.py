"""Rebuilds of captions alone: tables with and without URLs, and every command that reads such a build."""

import json
import re
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evenly.audit.published import PublishedBuild
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import steps_of
from evenly.flows.runs import open_run
from evenly.storage.builds import Builds, encoder_of
from evenly.storage.errors import InputError
from evenly.storage.workspace import Workspace
from evenly.tasks.stage import run_step

NOUNS = ("dog", "cat", "tree", "house", "car", "flower", "bird", "fish", "boat", "apple")
PLACES = ("in a green garden", "near the old harbour", "under a bridge", "on the kitchen table")
FOREIGN = "das ist hier ein Bild von einem kleinen Hund im Garten"
CAPTIONS = [f"a photograph of a {noun} {place}" for noun in NOUNS for place in PLACES]
EXTRA = [FOREIGN, "dog", "the photograph of a dog in a green garden", CAPTIONS[0]]


def recipe_file(folder, rows, *, source=None, **curate):
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "concepts.txt").write_text("\n".join(NOUNS))
    recipe = {
        "name": "captions",
        "seed": 7,
        "sources": [{"kind": "jsonl", "path": str(folder / "pool.jsonl"), "caption": "text", **(source or {})}],
        "curate": {
            "text": {"caption_length": {"min_words": 3}, "caption_language": {"languages": ["en"]}},
            "match": {"metadata": str(folder / "concepts.txt")},
            "preselect": {"headroom": 2.0},
            "balance": {"t": 3},
            **curate,
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A recipe of captions with ids, and a workspace."""
    folder = tmp_path_factory.mktemp("captions")
    rows = [{"id": str(number), "text": text} for number, text in enumerate([*CAPTIONS, *EXTRA])]
    rows += [{"id": "none", "text": None}, {"id": "empty", "text": ""}, {"id": "0", "text": CAPTIONS[0]}]
    twins = {"captions": {"min_jaccard": 0.8, "scope": "pool"}}
    path = recipe_file(folder, rows, source={"url": None, "id": "id"}, deduplicate=twins)
    return path, folder / "w"


def facts(evenly, *arguments):
    status, out, err = evenly(*arguments)
    assert status == 0, err
    return json.loads(out[re.search(r"^[\[{]", out, re.MULTILINE).start() :])


def test_paths_are_relative_to_the_recipe_wherever_the_command_runs(evenly, tmp_path, monkeypatch):
    path = recipe_file(tmp_path, [{"text": caption} for caption in CAPTIONS], source={"url": None})
    path.write_text(path.read_text().replace(f"{tmp_path}/", ""))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    plan = facts(evenly, "plan", "../recipe.yaml", "--root", "w", "--json")
    assert plan["steps"][0]["rows"] == len(CAPTIONS)
    assert facts(evenly, "rebuild", "../recipe.yaml", "--root", "w", "--json")["funnel"][0]["kept"] == len(CAPTIONS)


def test_a_recipe_of_captions_runs_and_every_command_reads_its_build(evenly, built, tmp_path):
    path, root = built
    at = ("--root", str(root), "--json")
    result = facts(evenly, "rebuild", str(path), *at)
    manifest = Builds(Workspace.at(root)).read(result["build"])
    steps = {step["name"]: step for step in manifest["steps"]}
    assert list(steps) == [
        *("collect", "check_texts", "match_concepts", "count_concepts", "preselect"),
        *("deduplicate_captions", "balance"),
    ]
    assert steps["collect"]["reasons"] == {"missing_caption": 2, "same_pair": 1}
    assert steps["check_texts"]["reasons"] == {"too_few_words": 1, "wrong_language": 1}
    assert steps["deduplicate_captions"]["counts"]["merged"] >= 1
    assert manifest["encoder"] is None
    assert not list(root.glob("features/*"))
    assert not list(root.glob("downloads/*"))

    again = facts(evenly, "plan", str(path), *at)
    assert {row["action"] for row in again["steps"]} == {"reuse"}
    assert facts(evenly, "verify", "latest", *at)["findings"] == []
    build = PublishedBuild(Workspace.at(root), manifest)
    uid = build.samples(["uid"], "balance_verdict = 'kept'")["uid"][0].as_py()
    (pair,) = facts(evenly, "why", uid, "--replay", *at)["pairs"]
    replays = {step["step"]: step["replay"]["agrees"] for step in pair["steps"]}
    assert replays.pop("deduplicate_captions") is not False
    assert replays == dict.fromkeys(["collect", "check_texts", "match_concepts", "preselect", "balance"], True)
    (refused,) = facts(evenly, "why", "none", *at)["pairs"]
    assert (refused["outcome"], refused["reason"], refused["identity"]["source_id"]) == (
        *("failed", "missing_caption", "none"),
    )
    facts(evenly, "diff", result["build"], "latest", *at)
    facts(evenly, "report", "latest", *at)
    facts(evenly, "builds", *at)
    facts(evenly, "promote", result["build"], *at)
    facts(evenly, "export", "latest", "--to", "parquet", "--out", str(tmp_path / "out"), *at)
    assert pq.read_table(tmp_path / "out" / "samples.parquet").num_rows == manifest["samples"]["kept"]
    status, _, err = evenly("export", "latest", "--to", "webdataset", "--root", str(root))
    assert (status > 0, "downloaded its pictures" in err) == (True, True)
    status, _, err = evenly("extract", str(path), "--root", str(root))
    assert (status > 0, "holds captions alone" in err) == (True, True)
    with pytest.raises(InputError, match="must hold pictures and their features"):
        encoder_of(manifest)


def test_without_ids_equal_captions_are_one_pair(tmp_path):
    rows = [{"text": text} for text in [*CAPTIONS, CAPTIONS[3], CAPTIONS[3]]]
    path = recipe_file(tmp_path, rows, source={"url": None})
    records, run = judged(path, tmp_path / "w", "match_concepts")
    assert records[0].reasons == {"same_pair": 2}
    table = run.ledger.decisions(records[0])
    assert table["url"].null_count == table.num_rows == len(CAPTIONS)


@pytest.mark.parametrize(
    ("sections", "steps"),
    [
        pytest.param(
            {"preselect": None, "balance": None},
            ["collect", "check_texts", "match_concepts", "count_concepts"],
            marks=pytest.mark.slow,
        ),
        ({"text": None, "match": None, "preselect": None, "balance": None}, ["collect"]),
    ],
)
def test_every_command_reads_a_build_of_few_steps(evenly, tmp_path, sections, steps):
    path = recipe_file(tmp_path, [{"text": text} for text in [*CAPTIONS, FOREIGN]], source={"url": None}, **sections)
    at = ("--root", str(tmp_path / "w"), "--json")
    result = facts(evenly, "rebuild", str(path), *at)
    manifest = Builds(Workspace.at(tmp_path / "w")).read(result["build"])
    assert [step["name"] for step in manifest["steps"]] == steps
    assert manifest["samples"]["kept"] == len(CAPTIONS) + (steps == ["collect"])
    assert facts(evenly, "verify", "latest", *at)["findings"] == []
    uid = PublishedBuild(Workspace.at(tmp_path / "w"), manifest).samples(["uid"])["uid"][0].as_py()
    (pair,) = facts(evenly, "why", uid, "--replay", *at)["pairs"]
    assert [step["step"] for step in pair["steps"]] == [step for step in steps if step != "count_concepts"]
    facts(evenly, "report", "latest", *at)
    facts(evenly, "export", "latest", "--to", "parquet", "--out", str(tmp_path / "out"), *at)
    status, _, err = evenly("card", "latest", "--root", str(tmp_path / "w"))
    assert (status, "must have matched and balanced its pairs" in err) == (1, True)


def judged(path, root, last):
    """The records of a recipe's steps up to `last`, and the run."""
    records = ()
    with open_run(read_recipe(path), root=root, quiet=True) as run:
        for step, rule in steps_of(read_recipe(path)):
            records = (*records, run_step(run, step, records, rule))
            if step.name == last:
                return records, run
    raise AssertionError(last)


TEXTS = st.one_of(st.none(), st.sampled_from([*CAPTIONS, *EXTRA, "", "ein Hund"]), st.text(max_size=30))
ROWS = st.lists(st.tuples(st.integers(0, 9), TEXTS), max_size=20)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(ROWS)
def test_captions_with_urls_are_judged_as_in_a_rebuild_with_pictures(rows):
    pool = [{"url": "https://a.test/0.jpg", "text": CAPTIONS[0]}]
    pool += [{"url": f"https://a.test/{number}.jpg" if number else "no address", "text": text} for number, text in rows]
    verdicts = []
    for download in (None, {}):
        with tempfile.TemporaryDirectory() as place:
            path = recipe_file(Path(place), pool, download=download)
            records, run = judged(path, Path(place) / "w", "count_concepts")
            tables = [record.hashes for record in records]
            verdicts.append(([record.name for record in records], tables, explained(run, records)))
    assert verdicts[0] == verdicts[1]


def explained(run, records):
    return [run.ledger.decisions(record).to_pylist() for record in records if "decisions" in record.hashes]
