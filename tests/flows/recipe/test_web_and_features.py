"""`web:` and `features:` of a recipe: where hosts are reached, and what is encoded."""

import pytest
import yaml

from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.problems import RecipeError
from evenly.flows.recipe.steps import content_of
from evenly.flows.runs import open_run


def recipe_with(tmp_path, web):
    path = tmp_path / "r.yaml"
    source = {"kind": "csv", "path": "pool.csv"}
    path.write_text(yaml.safe_dump({"name": "r", "seed": 1, "web": web, "sources": [source], "curate": {}}))
    return read_recipe(path)


def test_hosts_are_reached_where_the_recipe_says_and_the_environment_counts_first(tmp_path, monkeypatch):
    recipe = recipe_with(tmp_path, {"connect": {"a.test": "10.0.0.5", "b.test": "127.0.0.1:8000"}})
    monkeypatch.setenv("EVENLY_CONNECT", "b.test=127.0.0.1:9000")
    with open_run(recipe, root=tmp_path / "w") as run:
        assert run.connect == {"a.test": "10.0.0.5", "b.test": "127.0.0.1:9000"}
    with open_run(recipe_with(tmp_path, None), root=tmp_path / "w") as run:
        assert run.connect == {"b.test": "127.0.0.1:9000"}


def test_the_demos_web_is_named(tmp_path):
    assert recipe_with(tmp_path, "openmoji").web == "openmoji"


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ({"connect": {"a.test": "a.local:80"}}, "must map a host to an address"),
        ({"connect": {"a.test": "169.254.169.254"}}, "must not lead to link-local"),
        ({"connekt": {"a.test": "10.0.0.5"}}, "must be a known field"),
        ("flickr", "openmoji"),
    ],
)
def test_what_cannot_be_reached_is_refused(tmp_path, web, words):
    with pytest.raises(RecipeError, match=words):
        recipe_with(tmp_path, web)


def test_encoding_can_be_left_out_and_is_no_content_of_a_build_but_classes_need_it(tmp_path):
    path = tmp_path / "e.yaml"
    recipe = {"name": "e", "seed": 1, "sources": [{"kind": "csv", "path": "p.csv"}], "curate": {"download": {}}}
    path.write_text(yaml.safe_dump(recipe | {"features": {"encode": False}}))
    left_out = read_recipe(path)
    assert not left_out.features.encode
    path.write_text(yaml.safe_dump(recipe))
    assert content_of(read_recipe(path)) == content_of(left_out)
    path.write_text(yaml.safe_dump(recipe | {"features": {"encode": False}, "classes": [{"list": "birds.txt"}]}))
    with pytest.raises(RecipeError, match="takes no classes"):
        read_recipe(path)
