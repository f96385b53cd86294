"""Lists of what is not wanted: text files of one entry a line. What is in them is written nowhere else."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from evenly.storage.errors import InputError
from evenly.storage.reading.budget import LIST_BYTES, read_whole
from evenly.storage.tables.arrow_files import read_trouble
from evenly.storage.web.hosts import ascii_host


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
        content = read_whole(path, limit_bytes=LIST_BYTES, field="list")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = read_trouble(error)
        raise InputError(f"list `{path}` must be a readable text file; {reason}. Write one entry per line.") from None
    digest = hashlib.sha256(content).hexdigest()
    check_hash(str(path), digest, sha256)
    lines = (line.strip() for line in text.splitlines())
    entries = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not entries:
        raise InputError(f"list `{path}` must hold an entry; it has none. Write one per line, or leave the list out.")
    return Blocklist(entries=entries, sha256=digest)


def read_file_hashes(path: Path, *, sha256: str = "") -> Blocklist:
    """Read a list of sha256 hashes of files, 64 hexadecimal digits each; what follows on a line is left out."""
    return _entries(read_blocklist(path, sha256=sha256), path, _file_hash, "a sha256 of 64 hexadecimal digits")


def read_look_hashes(path: Path, *, sha256: str = "") -> Blocklist:
    """Read a list of perceptual hashes, 16 hexadecimal digits each, as the column `phash` holds them."""
    return _entries(read_blocklist(path, sha256=sha256), path, _look_hash, "a hash of 16 hexadecimal digits")


def read_domains(path: Path, *, sha256: str = "") -> Blocklist:
    """Read a list of domains, as they stand or as `*.example.org`: entries in ASCII (IDNA) and lower case."""
    return _entries(read_blocklist(path, sha256=sha256), path, _domain, "a domain such as example.org")


def check_hash(title: str, digest: str, wanted: str) -> None:
    """Raise InputError unless the hash `digest` of `title` begins with `wanted`."""
    if not digest.startswith(wanted.lower()):
        raise InputError(
            f"`{title}` must have the sha256 that the recipe names, {wanted[:16]}; got {digest[:16]}. "
            "Restore the file, or name its new hash."
        )


def _entries(blocklist: Blocklist, path: Path, read: Callable[[str], str | None], rule: str) -> Blocklist:
    """The entries as `read` takes them; one that it refuses is told by its place, not by what it says."""
    entries = [read(entry) for entry in blocklist.entries]
    if None in entries:
        raise InputError(
            f"entries of `{path}` must each be {rule}; number {entries.index(None) + 1} is none. Correct it, or put # "
            "before it."
        )
    return replace(blocklist, entries=tuple(dict.fromkeys(entry for entry in entries if entry is not None)))


def _file_hash(entry: str) -> str | None:
    return _hexadecimal(entry.split(maxsplit=1)[0], 64)


def _look_hash(entry: str) -> str | None:
    return _hexadecimal(entry.split(maxsplit=1)[0], 16)


def _hexadecimal(text: str, digits: int) -> str | None:
    return text.lower() if re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", text) else None


def _domain(entry: str) -> str | None:
    host = ascii_host(entry.removeprefix("*").removeprefix("."))
    return host if re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", host) else None
