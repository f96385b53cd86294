"""Retrieval and diversity of every rebuild with features, for its report, without a further command."""

import json

import pytest
import yaml

from evenly.flows.cli.datasets.builds import COMMANDS
from evenly.flows.cli.datasets.estimates import measure_lines
from evenly.flows.cli.datasets.planning import plan_recipe
from evenly.flows.rebuild_dataset import rebuild_dataset
from evenly.storage.builds import open_build
from evenly.storage.ledger import Ledger
from evenly.storage.workspace import Workspace
from evenly.tasks import partitioning
from evenly.tasks.verify_and_report import report_of
from tests.flows.test_values_everywhere import shard
from tests.tasks.whole_rebuild import ColourWords

MEASURES = ("measure_retrieval", "measure_diversity")
SECTIONS = ("How captions and pictures find each other", "How diverse pictures are beyond their captions")


@pytest.fixture
def rebuild(tmp_path, monkeypatch):
    """Rebuild a pool of 60 pictures, with more fields of the recipe, in a workspace: its path, the build."""
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: ColourWords())
    (tmp_path / "pool.tar").write_bytes(shard())
    recipe = tmp_path / "recipe.yaml"

    def run(root, **fields):
        source = {"kind": "webdataset", "path": "pool.tar"}
        content = {"name": "colours", "seed": 3, "sources": [source], "curate": {"download": {}}} | fields
        recipe.write_text(yaml.safe_dump(content))
        return recipe, rebuild_dataset(recipe=str(recipe), root=str(root), workers=1, quiet=True)

    return run


def measured(root):
    ledger = Ledger(Workspace.at(root))
    records = [record for name in MEASURES for record in ledger.records(name)]
    return {record.name: ledger.table(record, record.name.removeprefix("measure_")).to_pylist() for record in records}


def test_a_rebuild_measures_its_pairs_once_and_the_report_shows_both(rebuild, tmp_path, monkeypatch):
    root = tmp_path / "w"
    recipe, build = rebuild(root, measure={"pairs": 40})
    page = report_of(*open_build(build, root=root))[0].read_text("utf-8")
    assert all(words in page for words in SECTIONS)
    assert "40 of 60 kept pairs" in page
    rows = measured(root)
    assert rows["measure_diversity"][0]["n"] == 40
    assert rows["measure_retrieval"][0]["queries"] == 40
    monkeypatch.setattr("evenly.tasks.adapters.probes._pair_rows", None)  # nothing is measured again
    assert rebuild(root, measure={"pairs": 40}) == (recipe, build)
    plan = plan_recipe(recipe, root=root)
    assert {row["action"] for row in (*plan["steps"], *plan["measures"])} == {"reuse"}
    assert measure_lines(plan["measures"]) == ["report    retrieval and diversity are measured already"]


def test_no_measures_no_other_build_and_the_plan_says_what_they_would_take(rebuild, tmp_path, capsys):
    root = tmp_path / "w"
    recipe, build = rebuild(root, features={"encode": False})
    assert measured(root) == {}
    assert plan_recipe(recipe, root=root)["measures"] == []
    _, off = rebuild(root, measure=None)
    assert measured(root) == {}
    page = report_of(*open_build(off, root=root))[0].read_text("utf-8")
    assert not any(words in page for words in SECTIONS)
    recipe.write_text(recipe.read_text().replace("measure: null", "measure: {pairs: 50}"))
    COMMANDS["plan"](recipe=recipe, root=root)
    assert (
        "report    retrieval and diversity of 50 kept pairs at most: 0.1 s more (`measure`" in capsys.readouterr().out
    )
    COMMANDS["plan"](recipe=recipe, root=root, as_json=True)
    rows = json.loads(capsys.readouterr().out)["measures"]
    assert [(row["step"], row["action"], row["pairs"]) for row in rows] == [(name, "compute", 50) for name in MEASURES]
    assert rebuild(root, measure={"pairs": 50})[1] == off != build
    assert {*measured(root)} == {*MEASURES}


@pytest.mark.slow
def test_a_bucket_and_eight_partitions_give_the_measures_of_one_folder(rebuild, bucket, tmp_path, monkeypatch):
    rebuild(tmp_path / "w")
    monkeypatch.setattr(partitioning, "MOST_ROWS", 8)
    monkeypatch.setattr(partitioning, "LEAST_ROWS", 4)
    root = f"{bucket}/w"
    rebuild(root)
    assert measured(root) == measured(tmp_path / "w")
