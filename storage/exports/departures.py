"""Receipts of exports and reports: which build was written where, as what, with which content, and when.

A receipt holds no caption, URL or uid. It is named by what it says: the same content at the same place has one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenly.storage.errors import DamagedError
from evenly.storage.records import content_hash, create_record, read_record, replace_text
from evenly.storage.stores.files import map_paths
from evenly.storage.workspace import Workspace

REPORT = "report"


@dataclass(frozen=True, kw_only=True)
class Departure:
    """A receipt.

    id: hexadecimal, by all that follows but the time. kind: `report`, `diff`, or the format of an export. place:
    relative to the workspace, else absolute. content: SHA-256 in hex: the content hash of an export, the bytes of a
    page. files: their number. left: ISO 8601 in UTC, of the first time.
    """

    id: str
    kind: str
    build: str
    place: str
    content: str
    files: int
    left: str


def record_departure(workspace: Workspace, *, kind: str, build: str, place: Path, content: str, files: int) -> None:
    """Write the receipt of what stands at `place` now, durably; nothing where it is there already."""
    absolute = place.absolute()
    inside = absolute.is_relative_to(workspace.root)
    shown = absolute.relative_to(workspace.root).as_posix() if inside else str(absolute)
    facts: dict[str, Any] = {"kind": kind, "build": build, "place": shown, "content": content, "files": files}
    name = content_hash(facts)[:32]
    left = datetime.now(UTC).isoformat(timespec="seconds")
    create_record(workspace.departures / f"{name}.json", asdict(Departure(id=name, left=left, **facts)))


def record_page(workspace: Workspace, path: Path, page: str, *, kind: str, build: str) -> None:
    """Write a page about a build, and its receipt."""
    replace_text(path, page)
    digest = hashlib.sha256(page.encode()).hexdigest()
    record_departure(workspace, kind=kind, build=build, place=path, content=digest, files=1)


def departures(workspace: Workspace) -> list[Departure]:
    """All receipts, oldest first."""
    read = map_paths(_read, sorted(workspace.departures.glob("*.json")))
    return sorted(read, key=lambda departure: (departure.left, departure.id))


_FIELDS = {entry.name for entry in fields(Departure)}


def _read(path: Path) -> Departure:
    stored: Mapping[str, Any] = read_record(path)
    try:
        return Departure(**{name: value for name, value in stored.items() if name in _FIELDS})
    except TypeError as error:
        raise DamagedError(f"record `{path}` must be a receipt; {error}. Use the version that wrote it.") from None
