"""References of the builds of a workspace, and step records, tables and part records that none of them needs."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from evenly.storage.artifacts.store import digests_in
from evenly.storage.builds import Builds
from evenly.storage.errors import DamagedError, NotFoundError
from evenly.storage.ledger import Ledger
from evenly.storage.records import read_record
from evenly.storage.removal.leftovers import DAY_S, IsOld, Leftover, StoredFile
from evenly.storage.step_records import StepRecord, StoredPart
from evenly.storage.stores.object_path import AT_ONCE
from evenly.storage.workspace import Workspace

FIRST_STEP = "collect"
"""Every step of a rebuild names it among its inputs; the others (descriptions, adapters, audits) are people's work."""
ARTIFACTS = ("adapters", "refined encoders")
RUNNING = "refined/running/"
"""The folder of the states of trainings that are not done."""
_TABLE = re.compile(r"ledger/([^/]+)/([^/]+)-([0-9a-f]{32})\.arrow")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The records of a workspace.

    manifests: of all builds. records: step records with their files, by key; parts: records of partitions with theirs.
    """

    manifests: Sequence[Mapping[str, Any]]
    records: Mapping[str, tuple[StepRecord, StoredFile]]
    parts: Sequence[tuple[StoredPart, StoredFile]]

    @property
    def keys(self) -> set[str]:
        """The keys of the steps of all builds."""
        return {str(step["key"]) for manifest in self.manifests for step in manifest["steps"]}

    @property
    def steps(self) -> list[StepRecord]:
        """All step records."""
        return [record for record, _ in self.records.values()]

    @property
    def versions(self) -> dict[str, set[int]]:
        """The versions of the sample table that the builds of each recipe name."""
        named: dict[str, set[int]] = defaultdict(set)
        for manifest in self.manifests:
            named[str(manifest["recipe_name"])].add(int(manifest["samples"]["version"]))
        return named


def read_recorded(workspace: Workspace, files: Sequence[StoredFile]) -> Recorded:
    """Everything that is recorded. Raises DamagedError where a record cannot be read: what it needs is not known."""
    steps = [file for file in files if file.kind == "step records" and file.path.suffix == ".json"]
    parts = [file for file in files if file.kind == "part records" and file.path.suffix == ".json"]
    records = {record.key: (record, file) for record, file in _each_read(steps, StepRecord.from_json)}
    read_parts = list(_each_read(parts, StoredPart.from_json))
    return Recorded(manifests=Builds(workspace).manifests(), records=records, parts=read_parts)


def _each_read(
    files: Sequence[StoredFile], read: Callable[[Mapping[str, Any]], ResultT]
) -> Iterator[tuple[ResultT, StoredFile]]:
    """The records that are there still, each with its file."""

    def read_one(file: StoredFile) -> ResultT | None:
        try:
            return read(read_record(file.path))
        except NotFoundError:
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(
                f"record `{file.path}` must be one that this version knows; {error!r}. Use the version that wrote it."
            ) from None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for file, record in zip(files, pool.map(read_one, files), strict=True):
            if record is not None:
                yield record, file


def unneeded(
    workspace: Workspace, files: Sequence[StoredFile], recorded: Recorded, is_old: IsOld
) -> Iterator[Leftover]:
    """Records of rebuilds that no build came of, and tables and partitions of no record, the old ones.

    What a younger record builds on stays with it; what a run that is to go on takes over is younger.
    """
    stale = _stale_records(recorded, is_old)
    if stale:
        yield Leftover(
            kind="step records",
            why="rebuilds of which no build came",
            files=[recorded.records[key][1] for key in stale],
        )
    ledger = Ledger(workspace)
    needed = {
        path.relative_to(workspace.root).as_posix()
        for key, (record, _) in recorded.records.items()
        if key not in stale
        for path in ledger.files(record)
    }
    digests = {match[3] for match in map(_TABLE.fullmatch, needed) if match is not None}
    old_parts = []
    for part, file in recorded.parts:
        of_part = {table.digest[:32] for table in part.tables.values()}
        if of_part <= digests or not is_old(file):
            digests |= of_part | ({part.partial[:32]} if part.partial else set())
        else:
            old_parts.append(file)
    if old_parts:
        yield Leftover(kind="part records", why="partitions of no step", files=old_parts)
    rebuilt = {record.name for record, _ in recorded.records.values() if is_of_rebuild(record)} | {FIRST_STEP}
    tables = [
        file
        for file in files
        if (match := _TABLE.fullmatch(file.name)) is not None
        and is_old(file)
        and file.name not in needed
        and match[3] not in digests
        and (match[1] in rebuilt or time.time() - file.changed > DAY_S)
    ]
    if tables:
        yield Leftover(kind="ledger tables", why="no step", files=tables)


def unnamed_artifacts(files: Sequence[StoredFile], recorded: Recorded, is_old: IsOld) -> Iterator[Leftover]:
    """The old ones of what is named nowhere: contents of artifacts, states of trainings, and region methods of no step.

    A step that is to go itself names nothing.
    """
    old, stale = [*filter(is_old, files)], {*_stale_records(recorded, is_old)}
    steps = [asdict(record) for key, (record, _) in recorded.records.items() if key not in stale]
    named = _named_by([*steps, *recorded.manifests])
    methods = [file for file in old if file.name.startswith("refined/regions/") and file.path.stem not in named]
    contents = [file for file in old if file.kind == "contents of artifacts" and file.path.stem not in named]
    if contents:
        cards = [file for file in files if file.kind in ARTIFACTS and file.path.suffix == ".json"]
        of_cards = _named_by(record for record, _ in _each_read([card for card in cards if card not in methods], dict))
        contents = [file for file in contents if file.path.stem not in of_cards]
    states = [file for file in old if file.name.startswith(RUNNING)]
    for members, reason in (
        (methods, "rebuilds of which no build came"),
        (contents, "what was replaced or broken off"),
        (states, "trainings that were broken off"),
    ):
        if members:
            yield Leftover(kind=members[0].kind, why=reason, files=members)


def _named_by(records: Iterable[Mapping[str, Any]]) -> set[str]:
    return {digest for record in records for digest in digests_in(json.dumps(record, default=str))}


def is_of_rebuild(record: StepRecord) -> bool:
    """Whether a step is one of a rebuild; results of other steps are what people asked for."""
    return record.name == FIRST_STEP or FIRST_STEP in record.inputs


def _stale_records(recorded: Recorded, is_old: IsOld) -> list[str]:
    """The keys of records of rebuilds that are old, of no build, and that no other record builds on; newest first."""
    by_output: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, (record, _) in recorded.records.items():
        by_output[record.name, record.output_hash].append(key)
    kept: set[str] = set()
    waiting = [
        key
        for key, (record, file) in recorded.records.items()
        if key in recorded.keys or not is_of_rebuild(record) or not is_old(file)
    ]
    while waiting:
        key = waiting.pop()
        if key not in kept:
            kept.add(key)
            inputs = recorded.records[key][0].inputs.items()
            waiting += [upstream for name_and_output in inputs for upstream in by_output.get(name_and_output, [])]
    stale = [key for key in recorded.records if key not in kept]
    return sorted(stale, key=lambda key: (recorded.records[key][0].ended, key), reverse=True)


def broken_builds(workspace: Workspace, files: Sequence[StoredFile], recorded: Recorded) -> Iterator[tuple[str, str]]:
    """Each build that lacks something, and what: a step record, or a table of one."""
    names, ledger = {file.name for file in files}, Ledger(workspace)
    for manifest in recorded.manifests:
        for step in manifest["steps"]:
            record = recorded.records.get(str(step["key"]))
            if record is None:
                yield str(manifest["build"]), f"the record of step `{step['name']}` is gone"
                continue
            lost = [
                path.name
                for path in ledger.files(record[0])
                if path.relative_to(workspace.root).as_posix() not in names
            ]
            if lost:
                yield str(manifest["build"]), f"table `{lost[0]}` of step `{step['name']}` is gone"
