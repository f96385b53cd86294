"""Recipes of builds that are to be taken down: their files, and what is another one in them now."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.steps import changed_fields, content_of
from evenly.flows.runs import run_in
from evenly.storage.builds import Builds
from evenly.storage.errors import StorageError
from evenly.storage.journals import read_runs
from evenly.storage.pools.source import source_hash
from evenly.storage.workspace import Workspace


def recipes_of(
    workspace: Workspace, files: Sequence[Path], builds: Mapping[str, str]
) -> tuple[dict[str, str | None], dict[str, list[str]]]:
    """Of builds with their recipes: the file of each recipe, and of each build the fields that are other ones now.

    files: of recipes, in place of those that the journal of runs names.
    """
    by_name = {read_recipe(path).name: str(path.absolute()) for path in files}
    recipes = {name: by_name.get(name) or _known_file(workspace, name) for name in sorted(set(builds.values()))}
    return recipes, _changed(workspace, builds, recipes)


def _known_file(workspace: Workspace, recipe: str) -> str | None:
    """The file of a recipe by the newest run that names one that is still there."""
    files = (run.file for run in read_runs(workspace, recipe))
    return next((file for file in files if file is not None and Path(file).is_file()), None)


def _changed(
    workspace: Workspace, builds: Mapping[str, str], recipes: Mapping[str, str | None]
) -> dict[str, list[str]]:
    """The fields of recipes that are other ones now than when a build was made; `sources` where the pool is another."""
    changed = dict[str, list[str]]()
    for name, file in recipes.items():
        recipe = None if file is None else read_recipe(file)
        for manifest in map(Builds(workspace).read, (build for build, built_by in builds.items() if built_by == name)):
            if recipe is not None:
                inputs = manifest["steps"][0]["inputs"]
                is_same = _sources(workspace, recipe).items() <= inputs.items()
                fields = changed_fields(manifest["recipe"], content_of(recipe))
                changed[str(manifest["build"])] = fields + ([] if is_same else ["sources"])
    return changed


def _sources(workspace: Workspace, recipe: Recipe) -> dict[str, str]:
    """The hashes of a recipe's pools, as collecting them has them; no such hash where one cannot be read."""
    try:
        sources = run_in(recipe, root=workspace.root, quiet=True).sources
        return {f"source {number}": source_hash(source) for number, source in enumerate(sources)}
    except StorageError:
        return {"source 0": ""}
