"""`evenly tune` from a planted pool to its table: settings that were judged, nothing published, refusals in a line."""

import json

import pytest
import yaml
from typer.testing import CliRunner

import evenly
from evenly.demo.pictures.planted import RECIPE, make_planted_pool
from evenly.flows.cli import app
from tests.tiny_encoders import write_clip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
GOOD, ALL, LOOSE = 'values.score.column="good_score"', "values.score.keep_top=1.0", "balance.t=1000"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A planted pool of 200 pairs, its recipe with a tiny encoder, and the workspace with its build."""
    folder = tmp_path_factory.mktemp("planted")
    make_planted_pool(folder, count=200)
    content = yaml.safe_load((folder / RECIPE).read_text())
    content["features"] = {"model": f"local-dir:{write_clip(folder / 'model', layers=2)}"}
    (folder / RECIPE).write_text(yaml.safe_dump(content))
    evenly.rebuild(folder / RECIPE, root=folder / "w", workers=1, quiet=True)
    return folder / RECIPE, folder / "w"


def test_settings_of_a_planted_pool_are_judged_and_nothing_is_published(planted, tmp_path):
    recipe, root = planted
    before = {path: path.read_bytes() for path in (root / "builds").rglob("*") if path.is_file()}
    tries = ["values.score.column=good_score", "values.score.keep_top=1.0", LOOSE, "match.metadata=x.txt"]
    result = evenly.tune(recipe, tries=tries, seeds=2, root=root, quiet=True, out=tmp_path / "out")
    assert before == {path: path.read_bytes() for path in (root / "builds").rglob("*") if path.is_file()}
    rows = {row["pairs"]: row for row in result["rows"]}
    assert list(rows) == ["the recipe", "random pairs of the build's pool", GOOD, ALL, LOOSE]
    assert "must keep metadata" in result["skipped"]['match.metadata="x.txt"']
    assert rows[GOOD]["kept"] in {140, 141}  # the score of the last one may be there twice
    assert rows[ALL]["kept"] == 200
    assert rows[LOOSE]["difference"] == 0
    assert json.loads((tmp_path / "out" / "tune.json").read_text())["verdict"] == result["verdict"]

    words = [item for text in tries for item in ("--try", text)]
    shown = CliRunner().invoke(app, ["tune", str(recipe), *words, "--seeds", "2", "--root", str(root)])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[-1] == result["verdict"]


def test_a_recipe_that_is_not_the_builds_and_settings_that_cannot_be_judged_are_refused(planted):
    recipe, root = planted
    with pytest.raises(ValueError, match="`try` must have a setting that can be judged"):
        evenly.tune(recipe, tries=["match.metadata=x.txt"], root=root)
    other = recipe.with_name("other.yaml")
    other.write_text(recipe.read_text().replace("t: 1000", "t: 999"))
    with pytest.raises(ValueError, match=r"curate\.balance\.t differ"):
        evenly.tune(other, tries=["balance.t=9"], root=root)
