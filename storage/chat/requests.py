"""Replies of language models, one durable record per content-addressed request, and batches of requests.

A batch is a folder: `requests.json`, then `intent.json`, which makes it count, then `event-0001.json` and so on.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evenly.storage.records import create_record, read_if_there, read_record
from evenly.storage.stores.writer_lock import lock_holder
from evenly.storage.workspace import Workspace


class Requests:
    """The replies of a workspace, shared by all flows and class lists."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.requests

    def get(self, request_id: str) -> Mapping[str, Any] | None:
        """The stored record of a request, or None."""
        return read_if_there(self._path(request_id))

    def put(self, request_id: str, record: Mapping[str, Any]) -> None:
        """Store a reply durably; an existing record stays as it is."""
        create_record(self._path(request_id), record)

    def _path(self, request_id: str) -> Path:
        if not request_id.isalnum():
            raise ValueError(f"`request_id` must be hex; got {request_id!r}.")
        return self.folder / request_id[:2] / f"{request_id}.json"


class Batches:
    """The batches of a workspace, shared by all flows and class lists."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.batches

    def create(self, intent_id: str, record: Mapping[str, Any], requests: Mapping[str, Mapping[str, Any]]) -> bool:
        """Store an intent and the contents of its requests; False, and nothing changed, if it is there already."""
        if not intent_id.isalnum():
            raise ValueError(f"`intent_id` must be hex; got {intent_id!r}.")
        folder = self.folder / intent_id
        if (folder / "intent.json").exists():
            return False
        create_record(folder / "requests.json", requests)
        return create_record(folder / "intent.json", record)

    def append(self, intent_id: str, event: Mapping[str, Any]) -> None:
        """Store an event after those before it. Two processes may append at the same time."""
        folder = self.folder / intent_id
        number = len(list(folder.glob("event-*.json"))) + 1
        while not create_record(folder / f"event-{number:04}.json", event):
            number += 1

    def records(self) -> list[tuple[dict[str, Any], Sequence[dict[str, Any]]]]:
        """All intents with their events, the oldest first."""
        batches = [
            (read_record(path), [read_record(event) for event in sorted(path.parent.glob("event-*.json"))])
            for path in self.folder.glob("*/intent.json")
        ]
        return sorted(batches, key=lambda batch: (str(batch[0]["time"]), str(batch[0]["id"])))

    def requests(self, intent_id: str) -> dict[str, Any]:
        """The contents of an intent's requests by request id."""
        return read_record(self.folder / intent_id / "requests.json")

    @contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Whether this caller alone may submit until the context ends. The lock of a dead process is free."""
        with lock_holder(self.folder / ".lock") as holder:
            yield holder is None
