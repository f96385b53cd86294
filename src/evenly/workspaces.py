"""Rebuild in Python, and open a workspace: its builds by name."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evenly.builds import Build, Root
from evenly.storage.builds import Builds, open_build
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def rebuild_recipe(
    recipe: str | os.PathLike[str],
    *,
    root: Root = None,
    limit: int | None = None,
    workers: int | None = None,
    engine: str | None = None,
    retry_failed: bool = False,
    replay_from: Root = None,
    wait_s: int = 0,
    memory: str | None = None,
    quiet: bool = False,
) -> Build:
    """Rebuild a dataset by its recipe's file, as `evenly rebuild` does; the published build.

    Finished steps are reused: to call it again costs little. root: the workspace; default: EVENLY_ROOT, else `.evenly`.
    limit: take this many pairs, drawn by hash; such a build is never promoted. workers: how many processes, at most.
    engine: `local`, `ray` or the address of a Ray cluster; default: what the recipe says. retry_failed: download again
    what failed for a passing reason. replay_from: a workspace whose recorded downloads and replies are used. wait_s:
    seconds to wait for another process that rebuilds this recipe there. memory: what all processes may take, such as
    "6GB" or "50%" of the machine's; default: the recipe's. quiet: show no progress.

    Works in a notebook. Nothing that it starts outlives the call. Raises RecipeError with a line per problem.
    """
    from evenly.flows.process.environment import command_settings
    from evenly.flows.recipe import read_recipe

    read_recipe(os.fspath(recipe))
    place = None if root is None else os.fspath(root)
    with command_settings():
        from evenly.flows.process.prefect_api import prefect_api
        from evenly.flows.rebuild_dataset import rebuild_dataset

        with prefect_api():
            name = rebuild_dataset(
                recipe=os.fspath(recipe),
                root=place,
                limit=limit,
                workers=workers,
                engine=engine,
                retry_failed=retry_failed,
                replay_from=None if replay_from is None else os.fspath(replay_from),
                wait_s=wait_s,
                memory=memory,
                quiet=quiet,
            )
    return Build(*open_build(name, root=place))


def open_workspace(root: Root = None) -> "OpenedWorkspace":
    """The workspace at `root`; default: EVENLY_ROOT, else `.evenly`. Raises NotFoundError where there is none."""
    workspace = Workspace.at(root)
    if not workspace.root.is_dir():
        raise NotFoundError(
            f"`root` must be a workspace; got `{workspace.root}`, where nothing lies. Make one: `evenly.rebuild`."
        )
    return OpenedWorkspace(workspace)


class OpenedWorkspace:
    """What a workspace holds. `builds` are its builds by name."""

    def __init__(self, workspace: Workspace) -> None:
        self.root = workspace.root
        self.builds = BuildsByName(workspace)

    def __repr__(self) -> str:
        return f"<workspace {self.root}: {len(self.builds)} builds>"


class BuildsByName:
    """The builds of a workspace, by name and in order: iterating gives the oldest first.

    A name is a recipe's name or `<recipe>-latest` for the newest promoted one of that recipe, `latest` where there is
    but one such recipe, a build id, or the beginning of one id alone.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._builds = Builds(workspace)

    def __getitem__(self, name: str) -> Build:
        if not isinstance(name, str):
            raise InputError(f"`name` must be the name of a build; got {name!r}. Example: builds['latest'].")
        return Build(self._workspace, Builds(self._workspace).read(name))

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and bool(self[name])
        except NotFoundError:
            return False

    def __iter__(self) -> Iterator[Build]:
        return (Build(self._workspace, manifest) for manifest in self._builds.manifests())

    def __len__(self) -> int:
        return len(self._builds.names())

    def to_pandas(self) -> "pd.DataFrame":
        """One row per build, oldest first: build, created, rows, kept, limit, latest (the newest promoted one)."""
        import pandas as pd

        names = ["build", "created", "rows", "kept", "limit", "latest"]
        return pd.DataFrame(self._builds.rows(), columns=names)

    def __repr__(self) -> str:
        return f"<builds {', '.join(self._builds.names()) or 'none'}>"

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html(index=False, escape=True))
