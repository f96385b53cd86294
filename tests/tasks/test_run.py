from pathlib import Path

import pytest

from evenly.storage.files.identities import default_cache
from evenly.storage.workspace import Workspace
from evenly.tasks.run import Run, default_connect


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"EVENLY_CACHE": "/caches/mine", "XDG_CACHE_HOME": "/caches"}, "/caches/mine"),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/evenly"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/evenly"),
    ],
)
def test_the_cache_follows_the_environment(monkeypatch, environment, wanted):
    for name in ("EVENLY_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_cache() == Path(wanted)


def test_hosts_that_are_reached_elsewhere_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("EVENLY_CONNECT", "a.test=127.0.0.1:80, b.test=127.0.0.1:81")
    assert default_connect() == {"a.test": "127.0.0.1:80", "b.test": "127.0.0.1:81"}
    monkeypatch.delenv("EVENLY_CONNECT")
    assert default_connect() == {}


def test_paths_of_a_recipe_may_name_workspace_and_cache(tmp_path):
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, cache=tmp_path / "c")
    assert run.locate("{cache}/demo/pool.parquet") == f"{tmp_path}/c/demo/pool.parquet"
    assert run.locate("{root}/x") == f"{tmp_path}/w/x"


def test_relative_paths_are_from_the_folder_of_the_recipe(tmp_path):
    run = Run(workspace=Workspace.at(tmp_path / "w"), seed=1, folder=tmp_path / "recipes")
    assert run.locate("pool/*.parquet") == f"{tmp_path}/recipes/pool/*.parquet"
    assert run.locate("/pool.csv") == "/pool.csv"
    assert run.locate("~/pool.csv") == str(Path.home() / "pool.csv")
    assert run.expand("s3://bucket/pool.csv") == "s3://bucket/pool.csv"
