"""Class list files in a watched folder or below a prefix of an object store, and records of what became of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from evenly.storage.errors import InputError
from evenly.storage.records import create_record, read_record
from evenly.storage.workspace import Workspace

ENDING = ".txt"
MAX_BYTES = 10_000_000
"""A hundred thousand class names of the greatest length; what is larger is no class list."""


@dataclass(frozen=True, kw_only=True)
class ClassFile:
    """A file that may hold a class list. `name` is the file's without its ending, `place` where it lies.

    `modified`: when its bytes last changed, None where the store does not say (objects appear whole). `problem` says
    why it may not be read, "" where it may.
    """

    name: str
    place: str
    size: int
    modified: datetime | None
    problem: str = ""

    def settled(self, moment: datetime, *, settle_s: float) -> bool:
        """Whether it was last changed `settle_s` seconds ago or more; a time in the future beyond that counts too."""
        return self.modified is None or abs((moment - self.modified).total_seconds()) >= settle_s


class ClassFiles:
    """The `*.txt` files directly in a folder, or below a prefix such as s3://bucket/lists, sorted by name.

    Hidden files and folders are left out. Other stores than the local one need their fsspec driver (s3fs, gcsfs, ...),
    and take their credentials from the environment.
    """

    def __init__(self, folder: str) -> None:
        if urlsplit(folder).username or urlsplit(folder).password:
            raise InputError("`folder` must hold no user name or password. Put credentials into the environment.")
        from fsspec.core import url_to_fs

        try:
            self._store, self._root = url_to_fs(folder)
        except (ImportError, ValueError) as error:
            raise InputError(f"`folder` must be a folder or a known kind of URL; {error}; got `{folder}`.") from error

    def find(self) -> list[ClassFile]:
        """The files that are there now. InputError where there is no such folder."""
        self._store.invalidate_cache()
        try:
            listed = self._store.ls(self._root, detail=True)
        except (FileNotFoundError, NotADirectoryError) as error:
            place = self._store.unstrip_protocol(self._root)
            raise InputError(f"`folder` must exist; got `{place}`. Make it, or correct the path.") from error
        return sorted(self._class_files(listed), key=lambda file: file.place)

    def read(self, file: ClassFile) -> bytes | None:
        """The bytes of a file; None where it has changed or gone since it was found. At most MAX_BYTES + 1 of them."""
        path = self._store._strip_protocol(file.place)  # noqa: SLF001 - fsspec has no public name for it
        try:
            content: bytes = self._store.cat_file(path, start=0, end=MAX_BYTES + 1)
            self._store.invalidate_cache()
            info = self._store.info(path)
            unchanged = int(info["size"]) == file.size and self._modified(path) == file.modified
        except FileNotFoundError:
            return None
        return content if unchanged and not self._problem(info) else None

    def _class_files(self, listed: list[dict[str, Any]]) -> Iterator[ClassFile]:
        for entry in listed:
            path = PurePosixPath(entry["name"])
            is_file = Path(entry["name"]).is_file() if entry.get("islink") else entry["type"] == "file"
            if not is_file or path.suffix != ENDING or path.name.startswith("."):
                continue
            try:
                modified = self._modified(entry["name"])
            except FileNotFoundError:  # gone since it was listed
                continue
            yield ClassFile(
                name=path.stem,
                place=self._store.unstrip_protocol(entry["name"]),
                size=int(entry["size"]),
                modified=modified,
                problem=self._problem(entry),
            )

    def _modified(self, path: str) -> datetime | None:
        try:
            modified: datetime = self._store.modified(path)
        except NotImplementedError:
            return None
        return modified if modified.tzinfo else modified.replace(tzinfo=UTC)

    def _problem(self, entry: dict[str, Any]) -> str:
        """A link out of the folder would let whoever writes there send any file of this machine to the endpoint."""
        if not entry["name"].isprintable():
            return "the name of a class list must hold printable characters only. Rename it."
        if entry.get("islink") and not Path(entry["name"]).resolve().is_relative_to(Path(self._root).resolve()):
            return "a link must not lead out of the watched folder; this one does. Copy the file instead."
        if int(entry["size"]) > MAX_BYTES:
            return (
                f"a class list must have at most {MAX_BYTES:,} bytes; this file has {int(entry['size']):,}. Split it."
            )
        return ""


class Watched:
    """Outcomes of the class lists of a watched folder: one durable record per content, never changed.

    Records are kept by `content`, a hash of a file's bytes and of how lists are described.

    A record is written after the description is stored: a poll that dies between the two describes the list once more,
    which finds every reply stored and asks for none.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.watched

    def get(self, content: str) -> Mapping[str, Any] | None:
        """The record of a content, or None where it is new."""
        path = self.folder / f"{content}.json"
        return read_record(path) if path.exists() else None

    def put(self, content: str, record: Mapping[str, Any]) -> bool:
        """Keep a record; False, and nothing changed, where there is one already."""
        return create_record(self.folder / f"{content}.json", record)
