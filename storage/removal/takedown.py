"""A take-down while it is unfinished, and the receipt that is left of it.

An unfinished one is a record in the folder of the key, which only its owner may enter. It holds what is looked for,
which the workspace holds as well until it is done, and goes last: so a take-down that was killed is finished by the
same call. Receipts hold counts, names of builds and reasons, and no content; they are signed by the workspace's key.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from evenly.storage.builds import Builds
from evenly.storage.errors import StorageError
from evenly.storage.records import create_record, read_if_there, read_record, replace_record
from evenly.storage.removal.forget import Naming, read_forgotten, signature_of
from evenly.storage.removal.traces import Traces
from evenly.storage.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class TakeDown:
    """An unfinished take-down.

    receipt: its name. request: the words of its call. entries: of the forget list. builds: those that held it, each
    with its recipe. recipes: the file of each recipe that is rebuilt. counts: what was there at the beginning, by kind.
    successors: of each recipe, as soon as it is rebuilt; "" where no pair of its pool is left.
    """

    receipt: str
    begun: str
    request: Mapping[str, Any]
    traces: Traces
    entries: Sequence[tuple[Naming, str]]
    pairs: int
    builds: Mapping[str, str]
    recipes: Mapping[str, str]
    counts: Mapping[str, Any]
    exports: Sequence[Mapping[str, Any]] = ()
    successors: Mapping[str, str] = field(default_factory=dict)

    def write(self, workspace: Workspace) -> None:
        """Store it durably, in place of what was stored of it before."""
        record = {item.name: getattr(self, item.name) for item in fields(self)} | {"traces": self.traces.to_json()}
        replace_record(_unfinished(workspace), record)

    def remove(self, workspace: Workspace) -> None:
        """Remove it: nothing is left to be done."""
        _unfinished(workspace).unlink(missing_ok=True)


def read_unfinished(workspace: Workspace) -> TakeDown | None:
    """The take-down that was begun and is not finished, or None."""
    record = read_if_there(_unfinished(workspace))
    if record is None:
        return None
    entries = [(naming, value) for naming, value in record["entries"]]
    return TakeDown(**record | {"traces": Traces.from_json(record["traces"]), "entries": entries})


def write_receipt(workspace: Workspace, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Store a receipt, signed; the one that is there already where it was stored before."""
    receipt = {"receipt": name, **facts}
    create_record(_receipts(workspace) / f"{name}.json", receipt | {"signature": signature_of(workspace, receipt)})
    return read_record(_receipts(workspace) / f"{name}.json")


def wrong_receipts(workspace: Workspace) -> list[tuple[str, str]]:
    """Each receipt that does not hold, and why: its signature, the list, a tombstone or a successor."""
    wrong, builds = list[tuple[str, str]](), Builds(workspace)
    stones = {str(stone["build"]): stone for stone in builds.tombstones()}
    ids = {*builds.names(), *stones}
    for path in sorted(_receipts(workspace).glob("*.json")):
        try:
            receipt = read_record(path)
            signature = str(receipt.pop("signature", ""))
            is_signed = hmac.compare_digest(signature, signature_of(workspace, receipt))
        except StorageError as error:
            wrong.append((path.stem, str(error)))
            continue
        if not is_signed:
            wrong.append((path.stem, "its signature is not the one of this workspace: it was changed"))
            continue
        wrong += [
            (path.stem, f"build `{build}` was taken down, and is there or has no tombstone")
            for build in receipt["builds"]
            if build in builds.names() or build not in stones
        ]
        wrong += [
            (path.stem, f"build `{successor}` was its successor, and is gone without a tombstone")
            for successor in receipt["builds"].values()
            if successor is not None and successor not in ids
        ]
        if missing := set(receipt["entries"]) - read_forgotten(workspace).hashes:
            wrong.append((path.stem, f"{len(missing)} of its entries are not on the forget list any more"))
    return wrong


def _receipts(workspace: Workspace) -> Path:
    return workspace.forget / "receipts"


def _unfinished(workspace: Workspace) -> Path:
    return workspace.forget / "secret" / "unfinished.json"
