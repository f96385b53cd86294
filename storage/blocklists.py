"""Lists of what is not wanted: text files of one entry a line. What is in them is written nowhere else."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Blocklist:
    """The entries of a list in their order, each once, and the sha256 of its file, which names it."""

    entries: tuple[str, ...] = field(repr=False)
    sha256: str


def read_blocklist(path: Path, *, sha256: str = "") -> Blocklist:
    """Read a list; empty lines and lines that begin with # are no entries.

    Raises InputError where it cannot be read, is empty, or its hash does not begin with `sha256`.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"list `{path}` must be a readable text file; {why}. Write one entry per line.") from None
    found = hashlib.sha256(content).hexdigest()
    check_hash(str(path), found, sha256)
    lines = (line.strip() for line in text.splitlines())
    entries = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not entries:
        raise InputError(f"list `{path}` must hold an entry; it has none. Write one per line, or leave the list out.")
    return Blocklist(entries=entries, sha256=found)


def check_hash(what: str, found: str, wanted: str) -> None:
    """Raise InputError unless the hash `found` of `what` begins with `wanted`."""
    if not found.startswith(wanted.lower()):
        raise InputError(
            f"`{what}` must have the sha256 that the recipe names, {wanted[:16]}; got {found[:16]}. "
            "Restore the file, or name its new hash."
        )
