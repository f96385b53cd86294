"""Files that belong together and that nothing refers to, or that were broken off: why they go, and their removal."""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evenly.storage.exports.export import MANIFEST, UPLOADING
from evenly.storage.records import TEMPORARY_NAME
from evenly.storage.removal.stored_files import TEMPORARY, StoredFile, is_free
from evenly.storage.stores.object_path import ObjectPath
from evenly.storage.stores.writer_lock import holder_of
from evenly.storage.tables.exchange import LOCK_FILE
from evenly.storage.web.shards import ABANDONED_AFTER_S, PARTIAL

HOUR_S, DAY_S = 3600.0, 86400.0
IsOld = Callable[[StoredFile], bool]
"""Whether a file is of the age from which on what nobody needs may go."""
_PARTIAL_EXPORT = re.compile(r"\..+\.[0-9a-f]{16}\.partial")
_PROBE = re.compile(r"\.(probe|clock)-[0-9a-f]{16}")
_LINKED_COPY = re.compile(r"\..+\.tmp")  # of an observation that is copied from another workspace
_BESIDE_RECORDS = re.compile(r"([0-9a-f]{32})(\.[0-9a-f]{8})?(\.measured\.parquet|\.tar)")


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Files that are of no use, in the order in which they are to be removed.

    kind: one of KINDS. why: what it is of, in words. lock: a file or folder of this machine, or the lock of a
    writer in a store, that must be free; None where the locks of recipes are enough. is_wrong: False where it is left
    by work that went well, and costs next to nothing.
    """

    kind: str
    why: str
    files: Sequence[StoredFile]
    lock: Path | None = None
    is_wrong: bool = True

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


def broken_off(files: Sequence[StoredFile], exchange: Path) -> Iterator[Leftover]:
    """Leftovers of killed writers: temporary files, rows on their way, exports, downloads in progress, locks.

    Nothing that a process of this machine holds, and of an object store nothing that may be in use elsewhere.
    exchange: where rows are on their way to another cut, in the workspace or in the cache.
    """
    yield from _temporary_files(files)
    yield from _exchanged(files, exchange)
    yield from _exports(files)
    yield from _downloads(files)
    yield from _dead_locks(files)


def _temporary_files(files: Iterable[StoredFile]) -> Iterator[Leftover]:
    now = time.time()
    for file in files:
        name, is_stored = file.path.name, isinstance(file.path, ObjectPath)
        age_s = now - file.changed
        if _PROBE.fullmatch(name):
            if age_s > HOUR_S:
                yield Leftover(kind=TEMPORARY, why="probes of the store that were broken off", files=[file])
        elif not is_stored and TEMPORARY_NAME.fullmatch(name):
            if is_free(file.path):
                yield Leftover(kind=TEMPORARY, why="writers that are gone", files=[file], lock=file.path)
        elif _LINKED_COPY.fullmatch(name) and age_s > DAY_S:
            yield Leftover(kind=TEMPORARY, why="writers that are gone", files=[file])


def _exchanged(files: Iterable[StoredFile], exchange: Path) -> Iterator[Leftover]:
    for folder in sorted(exchange.iterdir()) if exchange.is_dir() else ():
        lock = folder / LOCK_FILE
        if folder.is_dir() and (is_free(lock) or not lock.exists()):
            members = [file for file in files if folder in file.path.parents]
            yield Leftover(kind="exchange", why="steps that are gone", files=members, lock=lock)


def _exports(files: Iterable[StoredFile]) -> Iterator[Leftover]:
    groups: Mapping[Path, list[StoredFile]] = defaultdict(list)
    for file in files:
        partial = [folder for folder in file.path.parents if _PARTIAL_EXPORT.fullmatch(folder.name)]
        if partial and file.kind == "exports" and not isinstance(file.path, ObjectPath):
            groups[partial[-1]].append(file)
    yield from _uploads(files)
    for folder, members in groups.items():
        if is_free(folder) and time.time() - folder.stat().st_mtime > HOUR_S:
            yield Leftover(kind="exports", why="exports that were broken off", files=members, lock=folder)


def _uploads(files: Iterable[StoredFile]) -> Iterator[Leftover]:
    """Exports into an object store without a manifest, whose writers are dead."""
    stored = [file for file in files if file.name.startswith("exports/") and isinstance(file.path, ObjectPath)]
    paths = {file.path for file in stored}
    for lock in (path for path in paths if path.name == UPLOADING and path.with_name(MANIFEST) not in paths):
        if holder_of(lock) is None:
            members = [file for file in stored if lock.parent in file.path.parents and file.path != lock]
            yield Leftover(kind="exports", why="exports that were broken off", files=members, lock=lock)


def _downloads(files: Sequence[StoredFile]) -> Iterator[Leftover]:
    """Work in progress of a download that is gone, and what lies beside records that were never written."""
    downloads = [file for file in files if file.name.startswith("downloads/")]
    shards = {file.path.stem for file in downloads if file.path.suffix == ".parquet"}
    lock = None
    members = []
    for file in downloads:
        beside = _BESIDE_RECORDS.fullmatch(file.path.name)
        if isinstance(file.path, ObjectPath):
            is_left = beside is not None and beside[1] not in shards
            is_left = is_left and time.time() - file.changed > ABANDONED_AFTER_S
        else:
            is_left = PARTIAL in file.path.parts or (beside is not None and beside[1] not in shards)
            lock = file.path.parents[file.name.count("/") - 1] / ".lock"
        members += [file] if is_left else []
    if members and (lock is None or not lock.exists() or is_free(lock)):
        yield Leftover(kind="downloads", why="downloads that were broken off", files=members, lock=lock)


def _dead_locks(files: Iterable[StoredFile]) -> Iterator[Leftover]:
    """Locks in an object store whose writers are dead; in a folder a lock ends with its process."""
    for file in files:
        if file.kind == "locks" and isinstance(file.path, ObjectPath) and holder_of(file.path) is None:
            yield Leftover(kind="locks", why="writers that are dead", files=[file], lock=file.path)
