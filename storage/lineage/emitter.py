"""OpenLineage events sent while a rebuild runs, by the official client: to a file, or wherever its own settings say.

EVENLY_OPENLINEAGE names a file that events are added to, one a line. Without it the client's settings count:
OPENLINEAGE_URL, OPENLINEAGE_CONFIG, OPENLINEAGE__TRANSPORT__…. Where none is set, nothing is imported. Whatever the
consumer does, a run goes on, and says at its end how many events it could not deliver.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4, uuid5

from evenly.installing import install_extra
from evenly.storage.lineage.events import EventType, LineageRun
from evenly.storage.step_records import StepRecord, code_version
from evenly.storage.workspace import Workspace

FILE_VARIABLE = "EVENLY_OPENLINEAGE"
_OF_CLIENT, _DISABLED = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT"), "OPENLINEAGE_DISABLED"
_WAIT_S = 10.0  # for deliveries that a transport has put off


def is_wanted() -> bool:
    """Whether a setting asks for events."""
    if os.environ.get(_DISABLED, "").lower() in ("true", "1"):
        return False
    settings = (FILE_VARIABLE, *_OF_CLIENT)
    return any(name.startswith(settings) for name, value in os.environ.items() if value)


@dataclass(kw_only=True)
class Emitter:
    """Sends the events of a rebuild; `lost` counts those that were not delivered, `trouble` is the last reason."""

    lineage: LineageRun
    client: Any = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    lost: int = 0
    trouble: str = ""
    _is_away: bool = False
    _runs: Counter[str] = field(default_factory=Counter)

    def run_of(self, step: str) -> UUID:
        """The run of a step that begins: another each time, for steps of several class lists."""
        self._runs[step] += 1
        return uuid5(self.lineage.step_run(step), str(self._runs[step]))

    def send(self, event: Mapping[str, Any], run: UUID | None = None) -> None:
        """Send an event, or count it. run: of the step that it is about; None: of the rebuild.

        After a delivery that failed, with all tries of the client's own, no more is tried: each would wait as long.
        """
        if run is not None:
            event = {**event, "run": {**event["run"], "runId": str(run)}}
        if self.client is not None and not self._is_away:
            with self.trouble_noted():
                self.client.emit(official_event(event))
                return
        self.lost += 1

    def close(self) -> None:
        """Wait a little for events that are on their way."""
        if self.client is not None:
            with self.trouble_noted():
                self.client.close(_WAIT_S)

    @contextmanager
    def trouble_noted(self) -> Iterator[None]:
        """Whatever the client raises is noted, and the run goes on.

        Its errors cannot be named: settings may name any class as the transport, and those that it brings raise what
        httpx, Kafka's, boto's and Google's libraries do.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001
            self._is_away = True
            self.trouble = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


_current: ContextVar[Emitter | None] = ContextVar("emitter of this rebuild", default=None)


@contextmanager
def rebuild_events(
    workspace: Workspace, recipe: str, run: str, warn: Callable[[str], object]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """START of a rebuild; at the end of the block COMPLETE with the manifest that is handed to what it yields, or FAIL.

    Nothing where no setting asks for events. warn: is told how many were not delivered, if some were not.
    """
    if not is_wanted():
        yield lambda _manifest: None
        return
    built = list[Mapping[str, Any]]()
    lineage = LineageRun.of(workspace, recipe, _uuid(run), code_version()["version"])
    emitter = Emitter(lineage=lineage)
    _open(emitter)
    token = _current.set(emitter)
    try:
        emitter.send(lineage.event("START", _now()))
        yield built.append
    except BaseException as error:
        emitter.send(lineage.event(_ending(error), _now(), facets=_error(lineage, error)))
        raise
    else:
        emitter.send(lineage.build_done(built[0], _now()) if built else lineage.event("COMPLETE", _now()))
    finally:
        _current.reset(token)
        emitter.close()
        if emitter.lost:
            warn(f"{emitter.lost:,} OpenLineage events were not delivered: {emitter.trouble}")


@contextmanager
def stage_events(step: str, upstream: Sequence[StepRecord]) -> Iterator[Callable[[Sequence[StepRecord]], None]]:
    """START of a step, and at the end of the block COMPLETE of all steps handed to what it yields, or FAIL of this one.

    Nothing outside of `rebuild_events`.
    """
    emitter = _current.get()
    if emitter is None:
        yield lambda _records: None
        return
    done, lineage, run = list[StepRecord](), emitter.lineage, emitter.run_of(step)
    emitter.send(lineage.event("START", _now(), step), run)
    try:
        yield done.extend
    except BaseException as error:
        emitter.send(lineage.event(_ending(error), _now(), step, facets=_error(lineage, error)), run)
        raise
    results = {record.name: record.output_hash for record in upstream}
    for place, record in enumerate(done):
        if place:  # steps of one stage, which begin with the first
            run = emitter.run_of(record.name)
            emitter.send(lineage.event("START", _now(), record.name), run)
        reused = datetime.fromisoformat(record.started) < emitter.started
        emitter.send(lineage.step_done(asdict(record) | {"ended": _now()}, results, reused=reused), run)
        results[record.name] = record.output_hash


def official_event(event: Mapping[str, Any]) -> Any:  # noqa: ANN401 - the client's
    """An event as the official client has it, which refuses what the specification does not know."""
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

    return RunEvent(
        eventType=RunState[event["eventType"]],
        eventTime=event["eventTime"],
        run=Run(**event["run"]),
        job=Job(**event["job"]),
        inputs=[InputDataset(**dataset) for dataset in event["inputs"]],
        outputs=[OutputDataset(**dataset) for dataset in event["outputs"]],
        producer=event["producer"],
    )


def _open(emitter: Emitter) -> None:
    """Give the emitter its client; without the package, or with settings that it refuses, events count as lost."""
    try:
        from openlineage.client import OpenLineageClient
        from openlineage.client.transport.file import FileConfig, FileTransport
    except ModuleNotFoundError:
        emitter.trouble = f"the client is not installed; `{install_extra('lineage')}`"
        return
    path = os.environ.get(FILE_VARIABLE)
    with emitter.trouble_noted():
        transport = FileTransport(FileConfig(log_file_path=path, append=True)) if path else None
        emitter.client = OpenLineageClient(transport=transport)


def _error(lineage: LineageRun, error: BaseException) -> dict[str, Any]:
    message = f"{type(error).__name__}: {error}"
    return {"errorMessage": lineage.facet("ErrorMessageRunFacet", message=message, programmingLanguage="Python")}


def _ending(error: BaseException) -> EventType:
    """FAIL, or ABORT where somebody stopped the run."""
    return "FAIL" if isinstance(error, Exception) else "ABORT"


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return uuid4()
