"""What a recipe says otherwise than the build that its name stands for was made with."""

from collections.abc import Iterator, Mapping
from typing import Any

from evenly.flows.recipe import Recipe
from evenly.flows.recipe.steps import content_of
from evenly.storage.builds import Builds
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress


def say_changes(workspace: Workspace, progress: Progress, recipe: Recipe) -> None:
    """Say which fields differ from those of the recipe's latest build, if it has one: a file may change unseen.

    Fields that no build's content depends on (paths, class lists, schedules) are not among them.
    """
    builds = Builds(workspace)
    latest = builds.latest_of(recipe.name)
    if latest is None:
        return
    if names := changed_fields(builds.read(latest)["recipe"], content_of(recipe)):
        progress.say(f"{'recipe':<24} changed since build {latest}: {', '.join(names)}")


def changed_fields(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The fields, as `curate.balance.t`, that two contents of a recipe give different values; null as if left out."""
    return list(_changed(earlier, now, ""))


def _changed(earlier: Mapping[str, Any], now: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name in dict.fromkeys((*now, *earlier)):
        old, after = earlier.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(after, Mapping):
            yield from _changed(old, after, f"{prefix}{name}.")
        elif old != after:
            yield f"{prefix}{name}"
