"""What has become of each class list that a watched folder held: one durable record per content, never changed."""

from collections.abc import Mapping
from typing import Any

from evenly.storage.records import create_record, read_record
from evenly.storage.workspace import Workspace


class Watched:
    """Records by `content`, a hash of a file's bytes and of how lists are described.

    A record is written after the description is stored: a poll that dies between the two describes the list once more,
    which finds every reply stored and asks for none.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.watched

    def get(self, content: str) -> Mapping[str, Any] | None:
        """The record of a content, or None where it is new."""
        path = self.folder / f"{content}.json"
        return read_record(path) if path.exists() else None

    def put(self, content: str, record: Mapping[str, Any]) -> bool:
        """Keep a record; False, and nothing changed, where there is one already."""
        return create_record(self.folder / f"{content}.json", record)
