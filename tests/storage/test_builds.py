import pytest

from storage.builds import Builds
from storage.errors import NotFoundError


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
