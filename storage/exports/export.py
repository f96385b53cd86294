"""Exports in every format, written in one way: into a hidden folder, manifest last, then a rename.

`export.json`, the manifest, says what lies beside it: format, build, counts, SHA-256 of every file, and the hash of
the content that the export was made from. Running a finished export again checks its files and reuses it.
"""

import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from evenly.storage.errors import DamagedError
from evenly.storage.exports.content import (
    About,
    Content,
    ExistingExportError,
    ExportError,
    ReadBytes,
    ReadRows,
    check_exported,
    reading_of,
)
from evenly.storage.records import content_hash, create_record, read_record, sync_folder
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import lock_holder
from evenly.storage.tables.hashing import file_hash

MANIFEST = "export.json"
UPLOADING = ".export.lock"
"""Held by who writes an export into an object store; one of a dead process, without MANIFEST, is of one broken off."""


Fill = Callable[[Content, Path], dict[str, int]]
"""A format: writes the content into the empty folder; how much of what it wrote, by name."""


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """An export on disk: what was counted, SHA-256 by file, and whether it was there before."""

    format: str
    build: str
    folder: Path
    content_hash: str
    counts: Mapping[str, int]
    files: Mapping[str, str]
    reused: bool

    def to_dict(self) -> dict[str, Any]:
        """Facts to print: as JSON values, with the number of files in place of their hashes (export.json has those)."""
        return vars(self) | {"folder": str(self.folder), "counts": dict(self.counts), "files": len(self.files)}


@dataclass(frozen=True, kw_only=True)
class Export:
    """A format that rows can be exported to. `version` rises when the same rows would give other files.

    has_card: whether it tells of the build (`about`) too.
    """

    format: str
    version: int
    fill: Fill
    has_card: bool = False
    about: About | None = None

    def telling(self, about: Callable[[], About]) -> "Export":
        """The export that also tells this of the build; where the format has no card, it is not asked for."""
        return replace(self, about=about()) if self.has_card else self

    def __call__(
        self,
        rows: pa.Table | ReadRows,
        folder: Path,
        *,
        read_bytes: ReadBytes,
        name: str,
        seed: int,
        progress: Callable[[int], None] = lambda _: None,
    ) -> ExportSummary:
        """Export `rows`, the kept pairs of the build `name` made with `seed`, to `folder`; what is there afterwards.

        `rows` is a table, or a function that gives tables in uid order at each call, of which one at a time is held.
        `read_bytes(image_ids)` yields the pictures' original bytes in the order asked. The same rows, in any order,
        give the same bytes. Readers see the whole export or none. Raises ExistingExportError if `folder` holds
        anything else, ExportError for rows or names that cannot be exported, DamagedError for wrong bytes.
        """
        _check_name(name)
        checked = check_exported(reading_of(rows) if isinstance(rows, pa.Table) else rows)
        identity: dict[str, Any] = {"format": self.format, "version": self.version, "build": name, "seed": seed}
        told = {} if self.about is None else {"about": asdict(self.about)}
        wanted = content_hash({**identity, "rows": checked.digest, **told})
        if isinstance(folder, ObjectPath):
            _remove_broken_off(folder)
        if existing := _existing(folder, wanted):
            return existing
        content = Content(
            rows=checked, read_bytes=read_bytes, name=name, seed=seed, progress=progress, about=self.about
        )
        try:
            with partial_folder(folder) as partial:
                counts = self.fill(content, partial)
                record = {**identity, "content_hash": wanted, "counts": counts, "files": _file_hashes(partial)}
                create_record(partial / MANIFEST, record)
                (partial / MANIFEST).chmod(partial.stat().st_mode & 0o666)  # an export is for others to read
        except FileExistsError:  # another process was faster
            if existing := _existing(folder, wanted):
                return existing
            raise
        return _summary(folder, record, reused=False)


def _check_name(name: str) -> None:
    if not (name.isascii() and 0 < len(name) <= 200 and all(letter.isalnum() or letter in "-_." for letter in name)):
        raise ExportError(
            f"`name` must be 1 to 200 of A-Z, a-z, 0-9, `-`, `_` and `.`; got {name!r}. Use the build's id."
        )


def _existing(folder: Path, wanted: str) -> ExportSummary | None:
    """The finished export in `folder`, its files checked; None where there is none yet."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / MANIFEST).is_file():
        raise ExistingExportError(
            f"`folder` must be new, empty or hold this export; got `{folder}`, which holds something else. "
            "Choose another folder."
        )
    record = read_record(folder / MANIFEST)
    if record.get("content_hash") != wanted:
        raise ExistingExportError(
            f"`folder` must be new, empty or hold this export; got `{folder}`, which holds {record.get('format')} of "
            f"build `{record.get('build')}` with other content. Choose another folder, or remove this one."
        )
    wrong = [
        name
        for name, sha256 in record["files"].items()
        if not (folder / name).is_file() or file_hash(folder / name) != sha256
    ]
    if wrong:
        raise DamagedError(
            f"export `{folder}` must match its {MANIFEST}; {len(wrong)} of {len(record['files'])} files do not, first "
            f"`{wrong[0]}`. Remove the folder and export again."
        )
    return _summary(folder, record, reused=True)


def _summary(folder: Path, record: Mapping[str, Any], *, reused: bool) -> ExportSummary:
    recorded = {name: record[name] for name in ("format", "build", "content_hash", "counts", "files")}
    return ExportSummary(**recorded, folder=folder, reused=reused)


def _file_hashes(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in paths}


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Give an empty hidden folder beside `folder`: flushed to disk and renamed to it at the end of the block.

    Removed if the block fails. What killed writers left beside `folder` is removed first; a living writer holds a lock
    on its own. Raises FileExistsError if `folder` got content meanwhile (an empty one is replaced).

    For a `folder` in an object store it is a folder of this machine, whose files become objects at the end of the
    block, MANIFEST last.
    """
    if isinstance(folder, ObjectPath):
        with TemporaryDirectory(prefix="evenly-export-") as local:
            yield Path(local)
            _upload(Path(local), folder)
        return
    folder = folder.resolve()
    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    partial = parent / f".{folder.name}.{secrets.token_hex(8)}.partial"
    with ExitStack() as locks:
        with _lock(parent, wait=True):  # so that nobody sweeps between these two lines
            _sweep(folder)
            partial.mkdir()
            locks.enter_context(_lock(partial, wait=False))
        try:
            yield partial
            _flush(partial)
            if folder.is_dir() and any(folder.iterdir()):
                raise FileExistsError(folder)
            partial.rename(folder)
            sync_folder(parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _upload(local: Path, folder: ObjectPath) -> None:
    names = sorted(file.relative_to(local).as_posix() for file in local.rglob("*") if file.is_file())
    places = {folder.joinpath(*name.split("/")): local / name for name in names if name != MANIFEST}
    with _uploading(folder):
        if {name for name, _ in folder.objects()} != {UPLOADING}:
            raise FileExistsError(folder)
        try:
            for place, file in places.items():
                with file.open("rb") as stream:
                    place.write_stream(stream)
            if MANIFEST in names:
                (folder / MANIFEST).create((local / MANIFEST).read_bytes())
        except BaseException:
            for place in places:
                place.unlink(missing_ok=True)
            raise


def _remove_broken_off(folder: ObjectPath) -> None:
    """Remove what a killed process left of an export; ExportError where a living one writes it."""
    if (folder / UPLOADING).is_file():
        with _uploading(folder):
            names = {name for name, _ in folder.objects()}
            for name in names - {UPLOADING} if MANIFEST not in names else ():
                folder.joinpath(*name.split("/")).unlink(missing_ok=True)


@contextmanager
def _uploading(folder: ObjectPath) -> Iterator[None]:
    with lock_holder(folder / UPLOADING) as holder:
        if holder is not None:
            raise ExportError(
                f"export `{folder}` must be written by one process at a time; process {holder.get('pid')} on "
                f"`{holder.get('host')}` writes it since {holder.get('since')}. Wait for it."
            )
        yield


def _sweep(folder: Path) -> None:
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.partial"):
        with suppress(FileNotFoundError), _lock(left, wait=False) as abandoned:
            if abandoned:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lock `folder` for the block; False if someone else holds it or the file system has no such locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _flush(folder: Path) -> None:
    """Flush all files and names below `folder` to disk; many at once, because a disk commits them together."""
    with ThreadPoolExecutor(max_workers=32) as threads:
        for place, _, names in os.walk(folder):
            for _ in threads.map(_flush_file, [Path(place, name) for name in names]):
                pass  # taking the results raises what went wrong
            sync_folder(Path(place))


def _flush_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
