"""The entry of a rebuild in the workspace's journal of runs, written as it begins and at its end, whatever that is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from evenly.redaction import without_secrets
from evenly.storage.errors import StorageError
from evenly.storage.run_records import RunRecord, read_runs, write_run
from evenly.storage.workspace import Workspace
from evenly.tasks.progress import Progress
from evenly.tasks.run import Run
from evenly.tasks.server.api import flow_run
from evenly.tasks.server.builds import Published, show_history

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
        until = None if retry is None or retry.until is None else _text(retry.until)
        return RunRecord(
            recipe=self.recipe,
            started=_text(self.started),
            ended=_text(datetime.now(UTC) if has_ended else self.started),
            asked_again={} if self.run is None else dict(sorted(self.run.asked_again.items())),
            asked_until=until,
            max_age=self.max_age,
            blocks=self.blocks,
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
