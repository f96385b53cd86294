"""Artifacts of a Prefect run: tables, pages and progress by key, where its server is one that people look at."""

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from evenly.audit.safe_text import visible
from evenly.storage.errors import InputError
from evenly.tasks.server.api import flow_run, is_watched, log_line

URL_VARIABLE = "EVENLY_URL"
UPDATE_S = 5.0
"""What ends sooner has no progress artifact; others are brought up to date as often, at most."""
_TIMEOUT_S = 10.0
_NOT_OF_KEYS = re.compile(r"[^a-z0-9]+")
_IN_ADDRESSES = ":/[]@!$&'()*+,;=%"
"""What stays as it is in an address, beside letters, digits and `_.-~`."""
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:@])")


def artifact_key(subject: str, name: str) -> str:
    """The key of an artifact, by which a server shows its history: that of one recipe or class list."""
    return _NOT_OF_KEYS.sub("-", f"{subject}-{name}".lower()).strip("-")


def markdown_text(text: str) -> str:
    """Text as it is, in one line, in markdown: nothing in it is a link, an element or a mark-up."""
    return _MARKUP.sub(r"\\\1", escape(visible(text), quote=False))


def served_at() -> str:
    """The address of EVENLY_URL, under which files of the workspace are served or stored; "" where it is not set.

    Raises InputError for one that a browser does not open, or to which no path can be added.
    """
    url = os.environ.get(URL_VARIABLE, "").strip().rstrip("/")
    with suppress(ValueError):
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
        if not url or (is_address and not parts.query and not parts.fragment):
            return quote(url, safe=_IN_ADDRESSES)
    raise InputError(
        f"`{URL_VARIABLE}` must be an http or https address without password, `?` and `#`; got another. Correct it: "
        "reports are linked to by it."
    )


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """An artifact under a key: a table is a sequence of rows, a page is markdown, progress is a percentage."""

    key: str
    kind: Literal["table", "markdown", "progress"]
    data: Any
    description: str = ""


def table_artifact(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> Artifact:
    """Rows as a table; texts in them are made safe to show, and what is no number is left out, as JSON has none."""
    shown = [{name: _shown(cell) for name, cell in row.items()} for row in rows]
    return Artifact(key=key, kind="table", data=json.dumps(shown), description=description)


def _shown(cell: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return visible(cell) if isinstance(cell, str) else cell


def leave_artifacts(artifacts: Sequence[Artifact]) -> None:
    """Leave artifacts with the run that this is part of; a server that does not take them is a warning in the log."""
    with warned("artifacts"), server_client() as client:
        for artifact in artifacts:
            _create(client, artifact)


@contextmanager
def server_client() -> Iterator[Any]:
    """A client of the run's server that works in threads with an event loop too."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True, httpx_settings={"timeout": _TIMEOUT_S}) as client:
        yield client


@contextmanager
def warned(title: str) -> Iterator[None]:
    """Take what a server or the way to it does wrong for a warning: no run fails for what is shown of it."""
    import logging

    import httpx
    from prefect.exceptions import PrefectException

    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        log_line(visible(f"{title}: the Prefect server did not take them: {type(error).__name__}"), logging.WARNING)


def _create(client: Any, artifact: Artifact) -> Any:  # noqa: ANN401 - Prefect's
    from prefect.client.schemas.actions import ArtifactCreate
    from prefect.runtime import flow_run, task_run

    return client.create_artifact(
        ArtifactCreate(
            key=artifact.key,
            type=artifact.kind,
            data=artifact.data,
            description=artifact.description,
            flow_run_id=flow_run.id,
            task_run_id=task_run.id,
        )
    )


@dataclass(kw_only=True)
class ProgressArtifact:
    """The progress of work on the server; None as `total` leaves nothing, as a percentage cannot be told."""

    key: str
    title: str
    total: int | None
    clock: Callable[[], float] = time.monotonic
    _due: float = field(init=False)
    _identity: Any = None
    _shown: int = -1

    def __post_init__(self) -> None:
        self._due = self.clock() + UPDATE_S

    def update(self, done: int) -> None:
        """Show how many pieces are done, where that is due."""
        if self.total and self.clock() >= self._due and is_watched():
            self._put(done)
            self._due = self.clock() + UPDATE_S

    def finish(self, done: int) -> None:
        """Show how many were done in the end, where there is an artifact."""
        if self._identity is not None and done != self._shown:
            self._put(done)

    def _put(self, done: int) -> None:
        from prefect.client.schemas.actions import ArtifactUpdate
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

        percent = min(100.0, round(100 * done / (self.total or 1), 1))
        with warned(self.title), temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), server_client() as client:
            if self._identity is None:
                title = markdown_text(self.title)
                artifact = Artifact(key=self.key, kind="progress", data=percent, description=title)
                self._identity = _create(client, artifact).id
            else:
                client.update_artifact(self._identity, ArtifactUpdate(data=percent))
            self._shown = done


def name_run(name: str, tags: Sequence[str]) -> None:
    """Give the flow run that this is part of a name, and tags beside those that it has."""
    if (run := flow_run()) is None:
        return
    with warned("name and tags"), server_client() as client:
        client.update_flow_run(run.id, name=name, tags=[*run.tags, *(tag for tag in tags if tag not in run.tags)])
