import json
import os
import sys
from datetime import datetime

import pytest

from evenly.storage import builds as builds_module
from evenly.storage.builds import Builds, open_two
from evenly.storage.errors import NotFoundError
from evenly.storage.workspace import Workspace


def manifest(build: str, created: str = "2026-01-01") -> dict[str, str]:
    return {"build": build, "created": created}


def test_a_build_is_published_once(workspace):
    builds = Builds(workspace)
    assert builds.publish(manifest("demo-1"))
    assert not builds.publish(manifest("demo-1", "2027-01-01"))
    assert builds.read("demo-1")["created"] == "2026-01-01"


def test_latest_moves_forth_and_back(workspace):
    builds = Builds(workspace)
    for build in ("demo-1", "demo-2"):
        builds.publish(manifest(build))
        builds.promote(build, recipe="demo")
    assert builds.read("latest")["build"] == "demo-2"
    builds.promote("demo-1", recipe="demo")
    assert builds.read("latest")["build"] == builds.read("demo-latest")["build"] == "demo-1"


def test_a_build_is_found_by_the_beginning_of_its_id(workspace):
    builds = Builds(workspace)
    builds.publish(manifest("demo-12ab"))
    assert builds.read("demo-12")["build"] == "demo-12ab"


@pytest.mark.parametrize("name", ["absent", "", "../secret", "aliases/latest"])
def test_an_unknown_build_lists_what_there_is(workspace, name):
    builds = Builds(workspace)
    builds.publish(manifest("demo-1"))
    with pytest.raises(NotFoundError, match="demo-1"):
        builds.read(name)


def test_only_a_build_that_exists_can_be_promoted(workspace):
    with pytest.raises(NotFoundError):
        Builds(workspace).promote("absent", recipe="demo")


def publish(builds, *names):
    for name in names:
        builds.publish(manifest(name) | {"recipe_name": name.partition("-")[0]})


def killed_at_line(number, work):
    """Whether a process that does `work` ended by itself; it is ended before the line of that number of storage/."""

    def count(frame, event, _argument):
        nonlocal number
        if "storage" not in frame.f_code.co_filename:
            return None
        number -= event == "line"
        if number < 0:
            os._exit(9)
        return count

    child = os.fork()
    if not child:
        sys.settrace(count)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_latest_is_that_of_the_only_recipe_and_refused_where_there_are_several(workspace):
    builds = Builds(workspace)
    publish(builds, "cats-1", "dogs-1", "cats-2")
    for build in ("cats-2", "cats-1"):
        builds.promote(build, recipe="cats")
        assert builds.alias("latest") == builds.read("latest")["build"] == build  # no build of dogs was promoted
    builds.promote("dogs-1", recipe="dogs")
    for read in (builds.alias, builds.read):
        with pytest.raises(NotFoundError, match=r"got `latest`\. Write `cats-latest` or `dogs-latest`\."):
            read("latest")
    assert builds.alias("dogs-latest") == "dogs-1"
    assert sorted(path.name for path in (builds.folder / "aliases").iterdir()) == [
        "cats-latest.json",
        "dogs-latest.json",
    ]


def test_latest_beside_another_build_is_that_of_its_recipe(workspace):
    builds = Builds(workspace)
    for recipe in ("birds", "fish"):
        for number in (1, 2):
            builds.publish(manifest(f"{recipe}-{number}") | {"recipe_name": recipe})
        builds.promote(f"{recipe}-2", recipe=recipe)
    assert builds.latest_of_each() == ["fish-2", "birds-2"]
    for names, opened in (
        (("birds-1", "latest"), ["birds-1", "birds-2"]),
        (("latest", "birds-1"), ["birds-2", "birds-1"]),
        (("birds-1", "fish-1"), ["birds-1", "fish-1"]),
    ):
        assert [one["build"] for one in open_two(*names, root=workspace.root)[1:]] == opened
    with pytest.raises(NotFoundError, match="birds-latest"):
        open_two("latest", "latest", root=workspace.root)


def test_what_is_promoted_last_is_the_first_of_the_latest_even_when_the_clock_went_back(workspace, monkeypatch):
    builds = Builds(workspace)
    publish(builds, "cats-1", "dogs-1")
    builds.promote("cats-1", recipe="cats")

    class Earlier(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:
            return datetime(2001, 1, 1, tzinfo=tz)

    monkeypatch.setattr(builds_module, "datetime", Earlier)
    builds.promote("dogs-1", recipe="dogs")
    assert builds.latest_of_each() == ["dogs-1", "cats-1"]


@pytest.mark.slow
def test_killed_at_any_point_of_promote_the_two_words_agree(workspace):
    builds = Builds(workspace)
    publish(builds, "demo-1", "demo-2")
    builds.promote("demo-1", recipe="demo")
    seen = set()
    for number in range(500):
        finished = killed_at_line(number, lambda: builds.promote("demo-2", recipe="demo"))
        latest = builds.alias("latest")
        assert latest == builds.read("latest")["build"] == builds.read("demo-latest")["build"]
        assert not finished or latest == "demo-2"
        seen.add(latest)
        if finished:
            break
        builds.promote("demo-1", recipe="demo")
    assert finished
    assert seen == {"demo-1", "demo-2"}


def test_promotions_without_a_time_are_read(workspace):
    builds = Builds(workspace)
    publish(builds, "cats-1", "dogs-1")
    (builds.folder / "aliases").mkdir()
    (builds.folder / "aliases" / "cats-latest.json").write_text(json.dumps({"build": "cats-1"}))
    assert builds.read("latest")["build"] == "cats-1"
    builds.promote("dogs-1", recipe="dogs")
    assert builds.latest_of_each() == ["dogs-1", "cats-1"]


def test_a_hold_lasts_until_a_person_promotes(workspace):
    builds = Builds(workspace)
    publish(builds, "cats-1", "cats-2", "dogs-1")
    builds.hold("cats", "`cats-1` did not verify (2 findings)")
    builds.promote("cats-1", recipe="cats")
    assert builds.hold_on("dogs") is None
    assert builds.hold_on("cats").startswith("`cats-1` did not verify (2 findings), 20")
    assert builds.holds() == {"cats": builds.hold_on("cats")}
    builds.promote_by_hand("cats-2", recipe="cats")
    assert (builds.alias("cats-latest"), builds.holds()) == ("cats-2", {})


def test_nothing_is_the_latest_where_nothing_was_promoted(workspace):
    builds = Builds(workspace)
    publish(builds, "cats-1")
    assert builds.alias("latest") is None
    with pytest.raises(NotFoundError, match="cats-1"):
        builds.read("latest")


def test_where_no_build_is_what_makes_one_is_said(workspace):
    with pytest.raises(NotFoundError, match=r"Builds here: none yet; `evenly rebuild RECIPE` makes one"):
        Builds(workspace).read("latest")


def test_an_alias_of_a_build_that_is_gone_names_it_and_others_stay_readable(workspace):
    builds = Builds(workspace)
    publish(builds, "cats-1", "dogs-1", "dogs-2")
    for build in ("cats-1", "dogs-1"):
        builds.promote(build, recipe=build.partition("-")[0])
    (builds.folder / "dogs-1.json").unlink()
    with pytest.raises(NotFoundError, match=r"no build matches `dogs-1`\. Builds here: cats-1, dogs-2"):
        builds.read("dogs-latest")
    assert builds.read("cats-latest")["build"] == "cats-1"
    builds.promote("dogs-2", recipe="dogs")
    assert builds.read("dogs-latest")["build"] == "dogs-2"


@pytest.mark.parametrize("name", ["données-1", "v1.2_b", "犬-1"])
def test_letters_of_any_script_name_a_build(workspace, name):
    builds = Builds(workspace)
    publish(builds, name)
    builds.promote(name, recipe=name.partition("-")[0])
    assert builds.names() == [name]
    assert builds.read("latest") == builds.read(name[:-1]) == builds.read(name)


@pytest.mark.parametrize("name", [".hidden", "a/b", "a b", "..", "a\n", ""])
def test_a_build_whose_name_is_no_plain_word_is_not_published(workspace, name):
    with pytest.raises(NotFoundError, match="must be letters, digits"):
        Builds(workspace).publish(manifest(name))
    assert Builds(workspace).names() == []


def test_a_beginning_of_several_builds_names_none_and_a_whole_id_goes_first(workspace):
    builds = Builds(workspace)
    publish(builds, "cats-1", "cats-12", "cats-13")
    assert builds.read("cats-1")["build"] == "cats-1"
    with pytest.raises(NotFoundError, match="more than one build matches `cats`"):
        builds.read("cats")


def test_a_recipes_name_is_its_newest_promoted_build_though_several_begin_so(tmp_path):
    builds = Builds(Workspace.at(tmp_path))
    for name in ("shapes-1", "shapes-2"):
        builds.publish({"build": name, "recipe_name": "shapes"})
        builds.promote(name, recipe="shapes")
    builds.publish({"build": "shapes-3", "recipe_name": "shapes"})
    assert builds.read("shapes")["build"] == "shapes-2"
    assert builds.read("shapes-3")["build"] == "shapes-3"
