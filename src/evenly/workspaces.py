"""Rebuild in Python, and open a workspace: its builds by name."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evenly.builds import Build, Root
from evenly.options import RebuildOptions
from evenly.signatures import flow_values, taking
from evenly.storage.builds import Builds, open_build
from evenly.storage.errors import InputError, NotFoundError
from evenly.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


@taking(RebuildOptions)
def rebuild_recipe(recipe: str | os.PathLike[str], options: RebuildOptions) -> Build:
    """Rebuild a dataset by its recipe's file, as `evenly rebuild` does; the published build.

    Finished steps are reused: to call it again costs little. Works in a notebook, where quiet=True shows no progress.
    Nothing that it starts outlives the call. Raises RecipeError with a line per problem, before anything is done.
    """
    from evenly.flows.cli.datasets.outcome import check_rebuild
    from evenly.flows.rebuild_dataset import rebuild_dataset
    from evenly.flows.recipe import read_recipe
    from evenly.flows.runs import as_flow

    check_rebuild(read_recipe(recipe), options)
    build = as_flow(rebuild_dataset)(os.fspath(recipe), **flow_values(options))
    return Build(*open_build(build, root=options.root))


def open_workspace(root: Root = None) -> "OpenedWorkspace":
    """The workspace at `root`; default: EVENLY_ROOT, else `.evenly`. Raises NotFoundError where there is none."""
    workspace = Workspace.at(root)
    if not workspace.root.is_dir():
        raise NotFoundError(
            f"`root` must be a workspace; got `{workspace.root}`, where nothing lies. Make one: `evenly.rebuild`."
        )
    return OpenedWorkspace(workspace)


class OpenedWorkspace:
    """The content of a workspace. `builds` are its builds by name."""

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
