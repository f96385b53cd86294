"""Identities of models and word lists, recorded beside the files that they were computed from.

An identity is a hash over content, and to compute it means to open a model or to build a list. A record holds it
together with the path, size, times of change and inode of each file: as long as these are the same, it is read instead.

A record notices weights of another size, written anew with another time, moved there, or written over and given their
old time back, since nobody sets the time of the inode's own change. It cannot notice what leaves all of these as they
were: a clock that was set back, a damaged disk, a file system that keeps no such times. Therefore the SHA-256 of each
file is recorded too, for those who look at contents (`altered`), and whoever opens the files says what they are.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from evenly.storage.errors import DamagedError, InputError
from evenly.storage.records import content_hash, read_if_there, replace_record

CACHE_VARIABLE = "EVENLY_CACHE"
_FOLDER = "identities"
_SETTLED_NS = 2_000_000_000  # the coarsest clock of a file system: what is younger might be changed in the same tick


def default_cache() -> Path:
    """Where assembled models and the demo's web lie: EVENLY_CACHE, else `evenly` in XDG_CACHE_HOME or `~/.cache`."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get(CACHE_VARIABLE) or caches / "evenly").expanduser()


@dataclass(frozen=True, kw_only=True)
class IdentityRecord:
    """The record of the identity of a `kind` of thing in the folder of a cache.

    facts: all that it depends on besides files, JSON-able. code: the packages that compute it, whose files count too.
    Of other facts, at another place or on another machine it is another record.
    """

    cache: Path
    kind: str
    facts: Mapping[str, Any]
    code: tuple[ModuleType, ...]

    @property
    def path(self) -> Path:
        """Where it lies."""
        key = {"facts": self.facts, "code": self._code, "machine": platform.node()}
        return self.cache / _FOLDER / f"{self.kind}-{content_hash(key)[:24]}.json"

    @property
    def _code(self) -> list[str]:
        return [place for package in self.code for place in package.__path__]

    def read(self) -> str | None:
        """The identity, where it is recorded and its files are as they were.

        Of files that look otherwise, as one that was installed anew or got a further link, the content is looked at.
        """
        record, since_ns = _read(self.path), time.time_ns()
        if record is None or _is_current(record):
            return None if record is None else str(record["identity"])
        try:
            stamps = [_stamp(Path(file["path"])) for file in record["files"]]
            for stamp, file in zip(stamps, record["files"], strict=True):
                looks_same = stamp.items() <= file.items()
                if not looks_same and (stamp["size"] != file["size"] or _sha256(Path(file["path"])) != file["sha256"]):
                    return None
        except OSError:
            return None
        files = [file | stamp for stamp, file in zip(stamps, record["files"], strict=True)]
        self._write(record["identity"], files, since_ns)
        return str(record["identity"])

    def settle(self, identity: str, files: Sequence[Path], *, since_ns: int) -> str | None:
        """Record an identity that was computed from `files`, opened at `since_ns` or later.

        Where the record said another, though nothing of its files looked changed, that is returned: who used it must
        stop. Files that are younger than a clock's tick are not recorded.
        """
        recorded = self.read()
        if recorded == identity:
            return None
        with suppress(OSError):  # a cache that cannot be written is computed anew each time
            self.path.unlink(missing_ok=True)
            code = (path for place in self._code for path in sorted(Path(place).rglob("*.py")))
            stamps = [_stamp(path) for path in (*files, *code)]
            if files:
                hashed = [stamp | {"sha256": _sha256(Path(stamp["path"]))} for stamp in stamps]
                self._write(identity, hashed, since_ns)
                for path in self.path.parent.glob("*.json"):  # of files that are gone, as of models tried in passing
                    if not all(Path(file["path"]).exists() for file in (_read(path) or {"files": ()})["files"]):
                        path.unlink(missing_ok=True)
        return recorded

    def _write(self, identity: str, files: Sequence[Mapping[str, Any]], since_ns: int) -> None:
        if all(file["ctime_ns"] < since_ns - _SETTLED_NS for file in files):
            with suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                replace_record(self.path, {"kind": self.kind, "identity": identity, "files": list(files)})

    def get(self, compute: Callable[[], str], files: Sequence[Path]) -> str:
        """The identity as recorded, else computed, and then recorded."""
        recorded, since_ns = self.read(), time.time_ns()
        if recorded is None:
            recorded = compute()
            self.settle(recorded, files, since_ns=since_ns)
        return recorded


def refuse_other(name: str, recorded: str | None, opened: str) -> None:
    """Raise InputError where what was opened is another than its record said."""
    if recorded not in {None, opened}:
        raise InputError(
            f"{name} must be what its record says, {str(recorded)[:12]}; opened, it is {opened[:12]}: its files were "
            "changed meanwhile, or so that size, times and inode of none tell. Nothing was stored with it, and the "
            "record is mended. Run again: it is another one."
        )


def altered(cache: Path, identities: set[str] | None = None) -> Iterator[tuple[str, str]]:
    """Files (path, what they are of) whose content is not the one recorded, though they look as they did.

    Of the given identities, or of all. Their records are removed: the next run computes them anew.
    """
    contents = dict[tuple[int, int], str]()  # by device and inode: hard links of several environments are one content
    for path in sorted((cache / _FOLDER).glob("*.json")):
        record = _read(path)
        if record is None or not _is_current(record) or (identities and record["identity"] not in identities):
            continue
        for file in record["files"]:
            place = Path(file["path"])
            stat = place.stat()
            if (stat.st_dev, stat.st_ino) not in contents:
                contents[stat.st_dev, stat.st_ino] = _sha256(place)
            if contents[stat.st_dev, stat.st_ino] != file["sha256"]:
                path.unlink(missing_ok=True)
                yield file["path"], f"{record['kind']} {record['identity'][:12]}"


def versions(*distributions: str) -> dict[str, str]:
    """The versions of those that are installed."""
    installed = {}
    for name in distributions:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def _read(path: Path) -> dict[str, Any] | None:
    """A record; None where there is none, or a damaged one: it is computed anew."""
    try:
        record = read_if_there(path)
    except DamagedError:
        return None
    return record if record is not None and {"kind", "identity", "files"} <= set(record) else None


def _is_current(record: Mapping[str, Any]) -> bool:
    try:
        return all(_stamp(Path(file["path"])).items() <= file.items() for file in record["files"])
    except OSError:
        return False


def _stamp(path: Path) -> dict[str, Any]:
    stat = os.stat(path)  # noqa: PTH116 - of a path that a link leads to
    return {
        "path": str(path),
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
