"""Observations of another workspace: downloads and replies are made once and reused by every replay."""

import os
import shutil
from pathlib import Path

from evenly.storage.errors import NotFoundError
from evenly.storage.records import replacing
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.workspace import Workspace


def adopt_observations(workspace: Workspace, origin: Workspace) -> int:
    """Take over the recorded downloads and replies of `origin`, as links where the file system allows; files taken.

    What this workspace has stays as it is. Raises NotFoundError where `origin` has none.
    """
    pairs = [(origin.downloads, workspace.downloads), (origin.requests, workspace.requests)]
    if not any(source.is_dir() for source, _ in pairs):
        raise NotFoundError(f"`replay_from` must hold recorded downloads or replies; `{origin.root}` holds none.")
    n_taken = 0
    for source, target in pairs:
        for path in sorted(source.rglob("*"), key=_arrival):
            place = target / path.relative_to(source)
            if path.is_file() and not path.name.startswith(".") and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(path, place)
                n_taken += 1
    return n_taken


def _arrival(path: Path) -> tuple[bool, Path]:
    """Tars first: what their records are to count for is there when these arrive."""
    return path.suffix != ".tar", path


def _link_or_copy(source: Path, target: Path) -> None:
    if not isinstance(source, ObjectPath) and not isinstance(target, ObjectPath):
        try:
            os.link(source, target)
        except OSError:
            temporary = target.with_name(f".{target.name}.tmp")
            shutil.copyfile(source, temporary)
            temporary.replace(target)
        return
    with source.open("rb") as content, replacing(target) as copy:
        shutil.copyfileobj(content, copy)
