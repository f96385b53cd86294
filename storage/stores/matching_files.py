"""Files that a pattern names, on this machine or in an object store, and how libraries that want paths read them."""

import glob
import gzip
import re
from pathlib import Path
from typing import BinaryIO, cast

from evenly.storage.stores.connection import is_url
from evenly.storage.stores.object_path import ObjectPath, path_at

_MAGIC = re.compile(r"[*?[]")


def matching_files(pattern: str) -> list[Path]:
    """The paths that a pattern names, sorted; `**` is any number of folders. A URL's begins below its bucket."""
    fixed = _fixed(pattern)
    place = path_at(fixed) if is_url(pattern) else None
    if not isinstance(place, ObjectPath):
        local = str(path_at(pattern))
        return [Path(name) for name in sorted(glob.glob(local, recursive=True))]  # noqa: PTH207 - absolute patterns too
    below = pattern.removeprefix(fixed).strip("/")
    matches = place.glob(below) if below else iter([place] if place.exists() else [])
    return sorted(matches)


def seekable(path: Path) -> Path | BinaryIO:
    """The path, or for one in an object store a stream, for libraries that open paths of this machine alone."""
    return cast("BinaryIO", path.open("rb")) if isinstance(path, ObjectPath) else path


def open_unpacked(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked where its name ends in `.gz`."""
    return cast("BinaryIO", gzip.open(seekable(path), "rb")) if path.suffix == ".gz" else path.open("rb")


def _fixed(pattern: str) -> str:
    """The folders of a pattern ahead of the first that is one."""
    match = _MAGIC.search(pattern)
    return pattern if match is None else pattern[: match.start()].rpartition("/")[0]
