"""The journals of a workspace: receipts of exports and reports, and what each rebuild of a recipe came to.

A receipt says which build was written where, as what, with which content, and when. It is named by what it says: the
same content at the same place has one. A run has a small record of its own, written anew as it ends. Both hold counts
and no caption, URL or uid, and nothing rests on them: no key, build id or content hash.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from evenly.storage.builds import is_plain
from evenly.storage.errors import DamagedError
from evenly.storage.records import content_hash, create_record, read_record, replace_record, replace_text
from evenly.storage.stores.files import map_paths
from evenly.storage.workspace import Workspace

REPORT = "report"
Outcome = Literal["published", "unchanged", "held", "failed", "built", "begun", "interrupted"]
"""How a rebuild ends; `built` with a limit, whose builds are not promoted.

`begun`: it is at work, or was stopped or killed; `interrupted`: the latter, since another has begun after it.
"""
RecordT = TypeVar("RecordT", "Departure", "RunRecord")
PAGE = 50
"""Runs that are read at a time."""


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
    read = map_paths(partial(_read, Departure, "a receipt"), sorted(workspace.departures.glob("*.json")))
    return sorted(read, key=lambda departure: (departure.left, departure.id))


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The outcome of a rebuild.

    run: the id of its flow run. due: when its schedule had it begin; None for a run by hand. Times are ISO 8601 in UTC;
    `ended` of one that has not ended is that of its start.
    build, rows and kept are those of its build; previous: the latest build before. entered, left: pairs, since that;
    None where there was none. asked_again: URLs that had failed and were asked again, by the reason of the failure;
    asked_until: of failures recorded by then; None: of all, or of none where asked_again is empty. error: in a line.
    max_age, blocks: who is told once the recipe's latest build is so old. file: of the recipe, where it was read.
    """

    recipe: str
    run: str
    started: str
    ended: str
    outcome: Outcome
    due: str | None = None
    build: str | None = None
    previous: str | None = None
    rows: int | None = None
    kept: int | None = None
    entered: int | None = None
    left: int | None = None
    asked_again: Mapping[str, int] = field(default_factory=dict)
    asked_until: str | None = None
    error: str | None = None
    max_age: str | None = None
    blocks: tuple[str, ...] = ()
    file: str | None = None


def write_run(workspace: Workspace, record: RunRecord) -> None:
    """Write a run in the journal of its recipe, durably; nothing of a recipe whose name cannot be that of a folder."""
    if is_plain(record.recipe):
        name = f"{_stamp(record.started)}-{record.run.rpartition('-')[2]}.json"
        replace_record(workspace.runs / record.recipe / name, asdict(record))


def read_runs(workspace: Workspace, recipe: str, *, started_by: str | None = None) -> Iterator[RunRecord]:
    """The runs of a recipe, or those that had started by then, newest first; they are read as they are asked for."""
    paths = sorted((workspace.runs / recipe).glob("*.json"), reverse=True) if is_plain(recipe) else []
    newest = paths[:1]
    if started_by is not None:
        stamp = _stamp(started_by)
        paths = [path for path in paths if path.name[: len(stamp)] <= stamp]
    for number in range(0, len(paths), PAGE):
        page = paths[number : number + PAGE]
        for path, record in zip(page, map_paths(partial(_read, RunRecord, "that of a run"), page), strict=True):
            is_over = record.outcome == "begun" and path not in newest
            yield replace(record, outcome="interrupted") if is_over else record


def _stamp(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y%m%dT%H%M%S.%f}"[:-3] + "Z"


def _read(kind: type[RecordT], subject: str, path: Path) -> RecordT:
    """The record at a path; fields of later versions are left out."""
    known = {entry.name for entry in fields(kind)}
    stored: dict[str, Any] = {name: value for name, value in read_record(path).items() if name in known}
    stored |= {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
    try:
        return kind(**stored)
    except TypeError as error:
        raise DamagedError(f"record `{path}` must be {subject}; {error}. Use the version that wrote it.") from None
