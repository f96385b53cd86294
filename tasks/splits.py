"""The split file that a build's recipe names: what the manifest says of it, and the file again for later commands.

Twins among the kept pictures of a build, by its stored features, are in one part of a split.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from evenly.adapters.twins import Twins, twin_clusters
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.storage.feature_store import FeatureStore
from evenly.storage.files.splits import read_split
from evenly.storage.records import content_hash
from evenly.storage.samples import Samples
from evenly.storage.tables.hashing import table_hash
from evenly.storage.workspace import Workspace
from evenly.tasks.run import Run


def build_twins(workspace: Workspace, manifest: Mapping[str, Any]) -> Twins:
    """The twins among the kept pairs of a build, pairs of one picture included; none in a build without features."""
    if manifest["encoder"] is None:
        return Twins(clusters=())
    samples, encoder = manifest["samples"], str(manifest["encoder"]["identity"])
    condition = f"{samples['last']}_verdict = 'kept' AND image_id IS NOT NULL"
    stored = FeatureStore(workspace, encoder, "images").version
    return _twins(workspace, str(manifest["recipe_name"]), int(samples["version"]), condition, encoder, stored)


@lru_cache(maxsize=4)
def _twins(workspace: Workspace, recipe: str, version: int, condition: str, encoder: str, _stored: int | None) -> Twins:
    """The twins of a version of the sample table; they are looked for once in a process, for rows `_stored` so far."""
    pairs = Samples(workspace, recipe).read(version, ["uid", "image_id"], condition)
    ids = pairs["image_id"].combine_chunks().dictionary_encode()
    numbers = np.arange(len(ids.dictionary))
    blocks = list(FeatureStore(workspace, encoder, "images").stored_batches(ids.dictionary))
    if blocks:
        places = np.concatenate([places for places, _ in blocks])
        clusters = twin_clusters(np.concatenate([rows for _, rows in blocks]))
        numbers[places] = places[clusters]
    of_pairs = numbers[ids.indices.to_numpy()]
    return Twins.numbered(np.array(pairs["uid"].to_pylist(), dtype=np.str_), of_pairs)


class ReadsBuild(Protocol):
    """A rule that names a build."""

    @property
    def build(self) -> str:
        """The build."""


def describe_split(run: Run, path: str) -> dict[str, str]:
    """The path of a split file as the recipe writes it, from which folder, and the SHA-256 of the file's rows."""
    return {"path": path, "folder": str(run.folder), "sha256": split_hash(run, path)}


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


def twin_inputs(workspace: Workspace, manifest: Mapping[str, Any]) -> dict[str, str]:
    """The inputs of a step that keeps the twins of a build together; none where there are no twins."""
    clusters = build_twins(workspace, manifest).clusters
    return {"twins": content_hash(clusters)} if clusters else {}


def grouped_inputs(run: Run, build: str, split: str | None = None) -> dict[str, str]:
    """`build_inputs` of a step that asks which pairs belong together, and the twins among these where there are some.

    Steps of earlier versions, which knew no twins, are taken over for builds that have none.
    """
    return build_inputs(run, build, split) | twin_inputs(run.workspace, Builds(run.workspace).read(build))


def split_hash(run: Run, path: str) -> str:
    """SHA-256 of the rows of a split file: of what it says, not of how it is written."""
    return table_hash(read_split(Path(run.locate(path))).rows)
