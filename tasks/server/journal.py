"""The journal of runs: a rebuild's entry, written as it begins and ends; and latest builds that are stale by it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from evenly.bounds import duration_s
from evenly.redaction import without_secrets
from evenly.storage.builds import Builds
from evenly.storage.errors import StorageError
from evenly.storage.journals import RunRecord, read_runs, write_run
from evenly.storage.records import create_record
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from evenly.tasks.server.api import flow_run, part, run_id
from evenly.tasks.server.builds import Published, report_line, show_history
from evenly.tasks.server.events import BuildStale, emit
from evenly.tasks.server.notices import Notice, send_notice

_LONGEST_ERROR = 1000


def _flow_run() -> dict[str, Any]:
    """The id of the Prefect flow run that this is, and when its schedule had it begin."""
    if (run := flow_run()) is None:
        return {"run": str(uuid4()), "due": None}
    due = run.expected_start_time if run.auto_scheduled else None
    return {"run": str(run.id), "due": None if due is None else _text(due)}


@dataclass(kw_only=True)
class RunNotes:
    """Notes of a rebuild, which are written when their block ends: with an error, or once there is a `build`.

    Of a run that is interrupted or killed those stay that were written before. A workspace that cannot be written is a
    warning, and changes nothing of how a run ends.
    """

    root: str | os.PathLike[str] | None
    recipe: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    max_age: str | None = None
    blocks: tuple[str, ...] = ()
    file: str | None = None
    run: Run | None = None
    build: Published | None = None
    flow_run: dict[str, Any] = field(default_factory=_flow_run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) or (error is None and self.build is not None):
            self.write(error)
            with self._warning():
                show_history(Workspace.at(self.root), self.recipe)

    def write(self, error: Exception | None = None) -> None:
        """Write the entry as it stands: of a run without a build or an error, that it has begun."""
        with self._warning():
            write_run(Workspace.at(self.root), self._record(error))

    @contextmanager
    def _warning(self) -> Iterator[None]:
        try:
            yield
        except (OSError, StorageError) as trouble:
            progress = Progress(quiet=True) if self.run is None else self.run.progress
            progress.warn(f"the journal of runs lacks what this one came to, or is not shown: {trouble}")

    def _record(self, error: Exception | None) -> RunRecord:
        has_ended = error is not None or self.build is not None
        retry = None if self.run is None else self.run.retry
        asked_until = None if retry is None or retry.until is None else _text(retry.until)
        return RunRecord(
            recipe=self.recipe,
            started=_text(self.started),
            ended=_text(datetime.now(UTC) if has_ended else self.started),
            asked_again={} if self.run is None else dict(sorted(self.run.asked_again.items())),
            asked_until=asked_until,
            max_age=self.max_age,
            blocks=self.blocks,
            file=self.file,
            **self.flow_run,
            **_outcome(self.build, error),
        )


def _outcome(build: Published | None, error: Exception | None) -> dict[str, Any]:
    facts = {"outcome": "begun"} if build is None else _of_build(build)
    if error is not None:
        text = without_secrets(f"{type(error).__name__}: {error}")
        facts |= {"outcome": "failed", "error": "; ".join(text.splitlines())[:_LONGEST_ERROR]}
    return facts


def _of_build(build: Published) -> dict[str, Any]:
    samples, is_part = build.manifest["samples"], build.manifest["limit"] is not None
    return {
        "outcome": "built" if is_part else build.outcome,
        "build": build.build,
        "previous": build.previous,
        "rows": samples["rows"],
        "kept": samples["kept"],
        **_moved(build),
    }


def _moved(build: Published) -> dict[str, int | None]:
    """The pairs that moved; as the last build counted them if it was the same, since counting reads both builds."""
    last = next((run for run in read_runs(build.workspace, build.recipe) if run.build is not None), None)
    if last is not None and (last.build, last.previous) == (build.build, build.previous):
        return {"entered": last.entered, "left": last.left}
    return dict(build.moved)


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


_CURRENT = ("published", "unchanged")


@dataclass(frozen=True, kw_only=True)
class StaleBuild:
    """A latest build of a recipe that is too old.

    since: when a rebuild last ended with it. stated: the newest run that read the recipe; newest: the newest of all.
    """

    build: str
    since: datetime
    stated: RunRecord
    newest: RunRecord

    @property
    def text(self) -> str:
        """The age, and how the newest run ended, in a line."""
        end = f"{self.newest.outcome} on {self.newest.ended[:16].replace('T', ' ')} UTC"
        error = f": {self.newest.error}" if self.newest.error else ""
        return (
            f"stale: {self.build}, with which no rebuild has ended since {self.since:%Y-%m-%d %H:%M} UTC, longer than "
            f"`max_age` {self.stated.max_age}. The last run of {self.newest.recipe}: {end}{error}"
        )


@part("look for stale builds")
def tell_stale_builds(run: Run) -> list[str]:
    """The latest builds that are stale now; of each an event and a notice, once, and a line in the log."""
    stale = list(stale_builds(run.workspace, datetime.now(UTC)))
    for old in stale:
        recipe, max_age, root = old.stated.recipe, str(old.stated.max_age), str(run.workspace.root)
        run.progress.warn(f"{'audit':<24} {old.text}")
        stale_since = old.since.isoformat(timespec="seconds")
        if create_record(run.workspace.runs / recipe / "stale" / f"{old.build}.json", {"since": stale_since}):
            emit(BuildStale(build=old.build, recipe=recipe, max_age=max_age, since=stale_since, root=root))
            report, number = report_line(run, old.build), str(run_id())
            notice = Notice(event="stale", recipe=recipe, text=old.text, run=number, report=report)
            send_notice(notice, old.stated.blocks, run.progress.warn)
    return [old.build for old in stale]


def stale_builds(workspace: Workspace, looked: datetime) -> Iterator[StaleBuild]:
    """The latest build of each recipe that is stale when it is `looked` at.

    The newest run that read the recipe states its `max_age`: one that failed without any may not have come so far.
    """
    builds = Builds(workspace)
    for build in builds.latest_of_each():
        manifest = builds.read(build)
        runs = list[RunRecord]()  # the newest, as far as is needed
        for record in read_runs(workspace, str(manifest["recipe_name"])):
            runs.append(record)
            if record.build == build and record.outcome in _CURRENT:
                break
        stated = next((record for record in runs if record.max_age or record.build), None)
        if stated is None or stated.max_age is None:
            continue
        ends = [record.ended for record in runs[-1:] if record.build == build and record.outcome in _CURRENT]
        stale_since = max(map(datetime.fromisoformat, (str(manifest["created"]), *ends)))
        if stale_since < looked - timedelta(seconds=duration_s(stated.max_age)):
            yield StaleBuild(build=build, since=stale_since, stated=stated, newest=runs[0])
