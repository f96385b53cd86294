"""The recipes that `evenly serve` and `evenly deploy` are given."""

import pytest

from evenly.flows.cli.errors import UsageError
from evenly.flows.cli.start.deployments import read_recipes
from evenly.flows.recipe.problems import RecipeError

RECIPE = "name: {name}\nseed: 1\nsources: [{{kind: csv, path: pool.csv, url: null}}]\n"
RECIPE += "curate: {{}}\n"


def write(path, name, more=""):
    path.parent.mkdir(exist_ok=True)
    path.write_text(RECIPE.format(name=name) + more)
    return path


def test_a_folder_stands_for_its_recipes_and_one_named_twice_stands_once(tmp_path):
    first, second = write(tmp_path / "r" / "b.yml", "b"), write(tmp_path / "r" / "a.yaml", "a")
    (tmp_path / "r" / "list.txt").write_text("no recipe")
    third = write(tmp_path / "c.yaml", "c")
    assert [file.path for file in read_recipes([third, tmp_path / "r", first])] == [third, second, first]


def test_all_problems_of_all_files_are_told_with_the_file(tmp_path):
    one = write(tmp_path / "one.yaml", "one", "schedule: {cron: never}\n")
    two = write(tmp_path / "two.yaml", "two", "sched: 1\n")
    with pytest.raises(RecipeError) as caught:
        read_recipes([one, two])
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{one}: `schedule.cron`: must be five fields of cron")
    assert second.startswith(f"{two}: `sched` must be a known field")


def test_two_recipes_of_one_name_and_a_folder_without_recipes_are_refused(tmp_path):
    one, two = write(tmp_path / "one.yaml", "same"), write(tmp_path / "two.yaml", "same")
    with pytest.raises(UsageError, match=r"`name` must differ .*; got `same` in `.*one.yaml` and in `.*two.yaml`"):
        read_recipes([one, two])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"`recipes` must be files, or folders .*; got `.*empty`, which holds none"):
        read_recipes([tmp_path / "empty"])
