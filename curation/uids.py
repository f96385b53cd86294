"""The identity of a pair: 128 bits of what it is, never of where it stands."""

import hashlib

from curation.errors import UidError

_BYTES = 16


def pair_uid(url: str, caption: str | None) -> str:
    """Return 32 hex digits that name the pair of `url` and its original `caption`; a null caption counts as empty.

    The DataComp convention (a uid names url and caption), with blake2b over length-prefixed UTF-8, so that
    ("ab", "c") and ("a", "bc") differ.
    """
    if not url:
        message = f"`url` must not be empty; got {url!r}. Put the row among the rejects."
        raise UidError(message)
    return _digest(b"evenly pair", url, caption or "")


def file_uid(sha256: str, caption: str | None) -> str:
    """Return 32 hex digits that name the pair of a local file, known by the hex sha256 of its bytes, and a caption."""
    if len(sha256) != 64 or sha256.strip("0123456789abcdef"):
        message = f"`sha256` must be 64 lower-case hex digits; got {sha256!r}. Hash the bytes of the file."
        raise UidError(message)
    return _digest(b"evenly file", sha256, caption or "")


def _digest(kind: bytes, *fields: str) -> str:
    state = hashlib.blake2b(digest_size=_BYTES, person=kind)
    for field in fields:
        try:
            encoded = field.encode("utf-8")
        except UnicodeEncodeError as error:
            message = f"`url` and `caption` must be valid Unicode; got {field!r}. Put the row among the rejects."
            raise UidError(message) from error
        state.update(len(encoded).to_bytes(8, "little"))
        state.update(encoded)
    return state.hexdigest()
