"""Replies of language models, one durable record per content-addressed request."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenly.storage.records import create_record, read_if_there
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
