"""The recipes that a command names, as files or as folders of them, all checked before anything is done with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evenly.flows.cli.errors import UsageError
from evenly.flows.recipe import Recipe, read_recipe
from evenly.flows.recipe.problems import RecipeError

_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class RecipeFile:
    """A recipe, and the absolute path of its file."""

    path: Path
    recipe: Recipe


def read_recipes(places: Sequence[Path]) -> list[RecipeFile]:
    """The recipes of files and folders, in the order given, those of a folder by name; one named twice stands once.

    Raises RecipeError with every problem of every file, and UsageError for a folder without recipes and for two
    recipes of one name.
    """
    files, problems = [], []
    for path in dict.fromkeys(path for place in places for path in _files(place)):
        try:
            files.append(RecipeFile(path=path, recipe=read_recipe(path)))
        except RecipeError as error:
            problems += [f"{path}: {line}" for line in str(error).splitlines()]
    if problems:
        raise RecipeError("\n".join(problems))
    paths: dict[str, Path] = {}
    for file in files:
        first = paths.setdefault(file.recipe.name, file.path)
        if first != file.path:
            raise UsageError(
                f"`name` must differ between recipes that are deployed together; got `{file.recipe.name}` in `{first}` "
                f"and in `{file.path}`. Rename one of them."
            )
    return files


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place.resolve()]
    files = sorted(path.resolve() for path in place.iterdir() if path.suffix in _ENDINGS and path.is_file())
    if not files:
        raise UsageError(
            f"`recipes` must be files, or folders that hold some (*.yaml, *.yml); got `{place}`, which holds none. "
            "`evenly init` writes one."
        )
    return files
