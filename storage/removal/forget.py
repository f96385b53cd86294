"""The forget list of a workspace: hashes, by a secret key of its own, of what new builds must not hold.

An entry is a record whose name is the hash of a uid, a URL, an image id or a domain. Without the key nobody can find
out from the list what was taken down, nor try what might be on it. The key lies in a folder that only its owner may
enter; it is written into no other record, and shown nowhere. Receipts of take-downs are signed by a key made from it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.storage.errors import DamagedError, InputError, NotFoundError, StorageError
from evenly.storage.records import canonical_json, create_record, read_record
from evenly.storage.web.hosts import hosts_of
from evenly.storage.workspace import Workspace, exclusive_use

FORGOTTEN = "forgotten"
"""The reason of pairs that are on the list, the name of the input of `collect` that stands for it, and the cause."""
Naming = Literal["uid", "url", "image_id", "domain"]
NAMINGS: tuple[Naming, ...] = ("uid", "url", "image_id", "domain")
_KEY_BYTES = 32
_FORM = "2"  # of what `collect` stores of a listed pair: raise it where that changes, so that it runs again


@dataclass(frozen=True)
class ForgetList:
    """The entries of the list, as hashes by the key; `digest` stands for all, "" for a list without entries."""

    hashes: frozenset[str] = frozenset()
    key: bytes = field(default=b"", repr=False)

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all hashes in their order."""
        return hashlib.sha256("\n".join([_FORM, *sorted(self.hashes)]).encode()).hexdigest() if self.hashes else ""

    def holds(self, naming: Naming, values: pa.Array) -> pa.BooleanArray:
        """Whether each of `values` (n,), texts, is on the list; a null is not."""
        if not self.hashes:
            return pa.array(np.zeros(len(values), np.bool_))
        distinct = values.unique()
        is_listed = [text is not None and self.hash_of(naming, text) in self.hashes for text in distinct.to_pylist()]
        return pc.fill_null(pc.is_in(values, distinct.filter(pa.array(is_listed, pa.bool_()))), False)

    def holds_hosts(self, urls: pa.Array) -> pa.BooleanArray:
        """Whether the host of each of `urls` (n,), or a domain above it, is on the list; a null is not."""
        if not self.hashes:
            return pa.array(np.zeros(len(urls), np.bool_))
        hosts = hosts_of(urls)
        distinct = hosts.unique().drop_null()
        is_listed = [
            any(self.hash_of("domain", domain) in self.hashes for domain in domains_above(host))
            for host in distinct.to_pylist()
        ]
        return pc.fill_null(pc.is_in(hosts, distinct.filter(pa.array(is_listed, pa.bool_()))), False)

    def masked(self, uids: pa.Array) -> pa.Array:
        """Hashes by the key in the form of uids, which stand for listed pairs where a row of the pool is counted."""
        names = [None if uid is None else self.masked_uid(uid) for uid in uids.to_pylist()]
        return pa.array(names, uids.type)

    def masked_uid(self, uid: str) -> str:
        """The hash that stands for a uid; the uid itself where the list has no entries."""
        return self.hash_of("uid", uid)[:32] if self.hashes else uid

    def hash_of(self, naming: Naming, value: str) -> str:
        """BLAKE2b by the key, 64 hex digits; a uid never has the hash of a URL."""
        content = value.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=32, key=self.key, person=naming.encode()).hexdigest()


def domains_above(host: str) -> list[str]:
    """A host and the domains above it, without the last label alone: `a.b.test` and `b.test`."""
    labels = host.split(".")
    return [".".join(labels[place:]) for place in range(max(1, len(labels) - 1))]


def read_forgotten(workspace: Workspace) -> ForgetList:
    """The list as it stands. Raises StorageError where it has entries and its key cannot be read."""
    hashes = frozenset(path.stem for path in (workspace.forget / "entries").glob("*.json"))
    return ForgetList(hashes, _read_key(workspace)) if hashes else ForgetList()


def add_forgotten(workspace: Workspace, values: Iterable[tuple[Naming, str]]) -> int:
    """Put uids, URLs (as the pool has them), image ids and domains on the list, durably; how many were not on it.

    Published builds keep what they hold; builds from now on do not. Raises WriterError, which names the process, while
    one writes in the workspace: so that every row of a build is judged by the same list.
    """
    wanted = list(values)
    for naming, value in wanted:
        if not value or naming not in NAMINGS:
            raise InputError(f"`values` must be a naming and a text; got {naming!r} and {value!r}. Leave it out.")
    with exclusive_use(workspace, "forget"):
        return create_entries(workspace, wanted)


def create_entries(workspace: Workspace, values: Iterable[tuple[Naming, str]]) -> int:
    """Put values on the list as `add_forgotten` does. The caller uses the workspace alone."""
    forget = ForgetList(key=make_key(workspace))
    added = datetime.now(UTC).isoformat(timespec="seconds")
    hashes = dict.fromkeys(forget.hash_of(naming, value) for naming, value in values)
    folder = workspace.forget / "entries"
    return sum(create_record(folder / f"{digest}.json", {"added": added}) for digest in hashes)


def signature_of(workspace: Workspace, record: Mapping[str, Any]) -> str:
    """HMAC-SHA256, in hex, of a record by a key made from that of the list. Raises StorageError where that is gone."""
    key = hashlib.blake2b(b"receipts", digest_size=32, key=_read_key(workspace)).digest()
    return hmac.new(key, canonical_json(record), hashlib.sha256).hexdigest()


def _key_path(workspace: Workspace) -> Path:
    return workspace.forget / "secret" / "key.json"


def make_key(workspace: Workspace) -> bytes:
    """The key of the workspace, made where there is none."""
    path = _key_path(workspace)
    if not path.exists() and not any((workspace.forget / "entries").glob("*.json")):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_record(path, {"key": secrets.token_hex(_KEY_BYTES)})
        with suppress(NotImplementedError, StorageError):  # an object has no mode
            path.chmod(0o600)
    return _read_key(workspace)


def _read_key(workspace: Workspace) -> bytes:
    path = _key_path(workspace)
    try:
        key = bytes.fromhex(str(read_record(path)["key"]))
    except (NotFoundError, DamagedError, KeyError, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise StorageError(
            f"`{path}` must be there and readable by this user, for the forget list has entries; it is not. Restore it "
            "from a backup, or rebuild as the user who owns it."
        )
    return key
