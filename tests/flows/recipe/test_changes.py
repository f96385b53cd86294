from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.steps import changed_fields, content_of, say_changes
from evenly.storage.builds import Builds
from evenly.tasks.progress import Progress

RECIPE = """
name: captions
seed: 1
sources: [{kind: csv, path: pool.csv, url: null}]
curate: {match: {}, balance: {t: 5}}
"""


def written(folder, text):
    (folder / "recipe.yaml").write_text(text)
    return read_recipe(folder / "recipe.yaml")


def test_fields_are_named_by_their_place(tmp_path):
    earlier, now = written(tmp_path, RECIPE), RECIPE.replace("t: 5", "target: 9").replace("seed: 1", "seed: 2")
    assert changed_fields(content_of(earlier), content_of(written(tmp_path, now))) == [
        *("seed", "curate.balance.t", "curate.balance.target"),
    ]


def test_a_field_that_an_earlier_version_did_not_write_is_unchanged_while_it_is_null():
    assert changed_fields({"curate": {"balance": None}}, {"curate": {"balance": None, "rank": None}}) == []
    assert changed_fields({"curate": None}, {"curate": {"rank": 1}}) == ["curate"]


def test_a_run_says_what_changed_since_the_latest_build(tmp_path, workspace, capsys):
    recipe, progress = written(tmp_path, RECIPE), Progress()
    say_changes(workspace, progress, recipe)
    assert capsys.readouterr().err == ""
    builds = Builds(workspace)
    builds.publish({"build": "captions-1", "created": "2026", "recipe": content_of(recipe)})
    builds.promote("captions-1", recipe="captions")
    say_changes(workspace, progress, recipe)
    assert capsys.readouterr().err == ""
    say_changes(workspace, progress, written(tmp_path, RECIPE.replace("t: 5", "t: 6")))
    assert "changed since build captions-1: curate.balance.t\n" in capsys.readouterr().err
