"""The uid of a pair: 128 bits of its content, never of its position or path."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.errors import UidError

_BYTES = 16
_PAIR, _FILE, _TEXT = b"evenly pair", b"evenly file", b"evenly text"


def pair_uid(url: str, caption: str | None) -> str:
    """Return 32 hex digits that name the pair of `url` and its original `caption`; a null caption counts as empty.

    The DataComp convention (a uid names url and caption), with blake2b over length-prefixed UTF-8, so that
    ("ab", "c") and ("a", "bc") differ.
    """
    if not url:
        message = f"`url` must not be empty; got {url!r}. Put the row among the rejects."
        raise UidError(message)
    return _digest(_PAIR, url, caption or "")


def file_uid(sha256: str, caption: str | None) -> str:
    """Return 32 hex digits that name the pair of a local file, known by the hex sha256 of its bytes, and a caption."""
    if len(sha256) != 64 or sha256.strip("0123456789abcdef"):
        message = f"`sha256` must be 64 lower-case hex digits; got {sha256!r}. Hash the bytes of the file."
        raise UidError(message)
    return _digest(_FILE, sha256, caption or "")


def text_uid(caption: str, source_id: str | None = None) -> str:
    """Return 32 hex digits that name a caption without a picture, and the id that its pool gave it, if any.

    A null id counts as empty: such captions are one where they are equal.
    """
    if not caption:
        message = f"`caption` must not be empty; got {caption!r}. Put the row among the rejects."
        raise UidError(message)
    return _digest(_TEXT, caption, source_id or "")


def pair_uids(urls: pa.Array, captions: pa.Array) -> pa.Array:
    """Return `pair_uid` of each row of two Arrow strings; null where there is no URL, or an empty one."""
    return _digests(_PAIR, urls, captions)


def file_uids(sha256s: pa.Array, captions: pa.Array) -> pa.Array:
    """Return `file_uid` of each row of two Arrow strings; null where there is no hash, or an empty one."""
    return _digests(_FILE, sha256s, captions)


def text_uids(captions: pa.Array, source_ids: pa.Array) -> pa.Array:
    """Return `text_uid` of each row of two Arrow strings; null where there is no caption, or an empty one."""
    return _digests(_TEXT, captions, source_ids)


def _digests(kind: bytes, names: pa.Array, captions: pa.Array) -> pa.Array:
    if names.null_count == len(names):
        return pa.nulls(len(names), pa.string())
    start, digests = hashlib.blake2b(digest_size=_BYTES, person=kind), list[str | None]()
    texts = (column.cast(pa.binary()).to_pylist() for column in (names, pc.fill_null(captions, "")))
    for name, caption in zip(*texts, strict=True):
        if not name:
            digests.append(None)
            continue
        state = start.copy()
        state.update(len(name).to_bytes(8, "little") + name + len(caption).to_bytes(8, "little") + caption)
        digests.append(state.hexdigest())
    return pa.array(digests, pa.string())


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
