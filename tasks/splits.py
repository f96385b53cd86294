"""The split file that a build's recipe names: what the manifest says of it, and the file again for later commands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.files.splits import read_split
from evenly.storage.tables.hashing import table_hash
from evenly.tasks.adapters.twins import build_twins
from evenly.tasks.run import Run


class ReadsBuild(Protocol):
    """A rule that names a build."""

    @property
    def build(self) -> str:
        """The build."""


def describe_split(run: Run, path: str | None) -> dict[str, str] | None:
    """The path as the recipe writes it, from which folder, and the SHA-256 of the file's rows; None without a file."""
    return None if path is None else {"path": path, "folder": str(run.folder), "sha256": split_hash(run, path)}


def split_of_build(run: Run, manifest: Mapping[str, Any]) -> str | None:
    """The path of the build's split file as its recipe wrote it; None where it names none or was made before this.

    Raises InputError where the file is gone or says something else than when the build was made.
    """
    split = manifest.get("split")
    if split is None:
        return None
    path, build = str(split["path"]), manifest["build"]
    try:
        sha256 = split_hash(run, path)
    except InputError as error:
        raise InputError(
            f"{error} Build `{build}` was made with this split, and no other tells its test pictures."
        ) from None
    if sha256 != split["sha256"]:
        raise InputError(
            f"`split` must be the file that build `{build}` was made with, rows of sha256 {split['sha256'][:12]}; got "
            f"{sha256[:12]} at `{run.locate(path)}`. Restore the file, or rebuild with the new one."
        )
    return path


def build_inputs(run: Run, build: str, split: str | None = None) -> dict[str, str]:
    """Inputs of a step that reads a build, with the parts of its rows in a split file where one is named."""
    inputs = {"build": str(Builds(run.workspace).read(build)["content_hash"])}
    return inputs | ({"split": split_hash(run, split)} if split else {})


def inputs_of_build(run: Run, _upstream: object, rule: ReadsBuild) -> dict[str, str]:
    """The inputs of a step that reads the build of its rule."""
    return build_inputs(run, rule.build)


def grouped_inputs(run: Run, build: str, split: str | None = None) -> dict[str, str]:
    """`build_inputs` of a step that asks which pairs belong together, and the twins among these where there are some.

    Steps of earlier versions, which knew no twins, are taken over for builds that have none.
    """
    return build_inputs(run, build, split) | build_twins(run.workspace, Builds(run.workspace).read(build)).inputs


def split_hash(run: Run, path: str) -> str:
    """SHA-256 of the rows of a split file: of what it says, not of how it is written."""
    return table_hash(read_split(Path(run.locate(path))).rows)
