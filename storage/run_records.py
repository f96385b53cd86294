"""The journal of runs: what each rebuild of a recipe came to, in a small record of its own, written anew as it ends.

It holds counts and no pair, and nothing rests on it: no key, build id or content hash.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from evenly.storage.builds import is_plain
from evenly.storage.errors import DamagedError
from evenly.storage.records import read_record, replace_record
from evenly.storage.stores.files import map_paths
from evenly.storage.workspace import Workspace

Outcome = Literal["published", "unchanged", "held", "failed", "built", "begun", "interrupted"]
"""How a rebuild ends; `built` with a limit, whose builds are not promoted.

`begun`: it is at work, or was stopped or killed; `interrupted`: the latter, since another has begun after it.
"""
PAGE = 50
"""Runs that are read at a time."""


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


_FIELDS = {entry.name for entry in fields(RunRecord)}


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
        for path, record in zip(page, map_paths(_read, page), strict=True):
            is_over = record.outcome == "begun" and path not in newest
            yield replace(record, outcome="interrupted") if is_over else record


def _stamp(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y%m%dT%H%M%S.%f}"[:-3] + "Z"


def _read(path: Path) -> RunRecord:
    stored: dict[str, Any] = {name: value for name, value in read_record(path).items() if name in _FIELDS}
    try:
        return RunRecord(**stored | {"blocks": tuple(stored.get("blocks", ()))})
    except TypeError as error:
        raise DamagedError(f"record `{path}` must be that of a run; {error}. Use the version that wrote it.") from None
