"""The uid of a pair: 128 bits of its content, never of its position or path."""

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

_BYTES = 16
_PAIR, _FILE, _TEXT = b"evenly pair", b"evenly file", b"evenly text"


def pair_uids(urls: pa.Array, captions: pa.Array) -> pa.Array:
    """Return 32 hex digits per row that name the pair of a URL and its original caption; null without a URL.

    The DataComp convention (a uid names url and caption), with blake2b over length-prefixed UTF-8, so that
    ("ab", "c") and ("a", "bc") differ. A null caption counts as empty, an empty URL as none.
    """
    return _digests(_PAIR, urls, captions)


def file_uids(sha256s: pa.Array, captions: pa.Array) -> pa.Array:
    """Return 32 hex digits per row that name the pair of a file, by the hex sha256 of its bytes, and a caption."""
    return _digests(_FILE, sha256s, captions)


def text_uids(captions: pa.Array, source_ids: pa.Array) -> pa.Array:
    """Return 32 hex digits per row that name a caption without a picture, and the id that its pool gave it, if any.

    A null id counts as empty: such captions are one where they are equal. Null where there is no caption.
    """
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
