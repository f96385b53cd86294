"""The judgements of the steps that collect pairs and observations of them.

The uid of a pair is 128 bits of its content, never of its position or path.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evenly.curation.arrays import column
from evenly.curation.decisions import Decisions
from evenly.curation.draws import is_for_kernel
from evenly.curation.step import Given, Judged, Judgement, PartTables, Rejudging, Stored, always, fixed_fields
from evenly.keys import LOCAL_ADDRESS, one_array

_BYTES = 16
KERNEL_FROM = 50_000
"""Uids from which the compiled kernel is faster, loading numba included; steps after it load it anyway."""
_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)]).view(np.uint16)
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
    captions = pc.fill_null(captions, "")
    if is_for_kernel(len(names), KERNEL_FROM):
        return _compiled(kind, names, captions)
    start, digests = hashlib.blake2b(digest_size=_BYTES, person=kind), list[str | None]()
    texts = (column.cast(pa.binary()).to_pylist() for column in (names, captions))
    for name, caption in zip(*texts, strict=True):
        if not name:
            digests.append(None)
            continue
        state = start.copy()
        state.update(len(name).to_bytes(8, "little") + name + len(caption).to_bytes(8, "little") + caption)
        digests.append(state.hexdigest())
    return pa.array(digests, pa.string())


def _compiled(kind: bytes, names: pa.Array, captions: pa.Array) -> pa.Array:
    from evenly.curation.hash_kernel import hashes_of, starting_state, texts_of

    named = pc.fill_null(pc.not_equal(names, ""), False).to_numpy(zero_copy_only=False)
    fields = (texts_of(pc.fill_null(texts, ""), np.flatnonzero(named)) for texts in (names, captions))
    hashes = hashes_of(starting_state(digest_size=_BYTES, person=kind), b"", *fields, words=2)
    letters = _HEX[hashes.astype("<u8").view(np.uint8)]
    ends = np.concatenate([[0], np.cumsum(named)]).astype(np.int32) * np.int32(2 * _BYTES)
    valid = pa.array(named).buffers()[1]
    return pa.Array.from_buffers(pa.string(), len(names), [valid, pa.py_buffer(ends), pa.py_buffer(letters)])


def uids_of(urls: pa.Array, captions: pa.Array, source_ids: pa.Array) -> pa.Array:
    """Return the uid of each pair: of a file's hash and the caption, of URL and caption, or of a caption and its id."""
    file_hashes = pc.struct_field(pc.extract_regex(urls, LOCAL_ADDRESS), "hash")
    web = pc.if_else(pc.is_null(file_hashes), urls, pa.scalar(None, pa.string()))
    texts = pc.if_else(pc.is_null(urls), captions, pa.scalar(None, pa.string()))
    return pc.coalesce(file_uids(file_hashes, captions), pair_uids(web, captions), text_uids(texts, source_ids))


def with_uids(table: pa.Table) -> pa.Table:
    """Rows of a pool with the uid of each; one that can have none is rejected."""
    urls, captions, rejects = (one_array(table[name]) for name in ("url", "caption", "reject"))
    uids = uids_of(urls, captions, one_array(table["source_id"]))
    uids = pc.if_else(pc.is_valid(rejects), pa.scalar(None, pa.string()), uids)
    rejects = pc.if_else(pc.and_(pc.is_null(rejects), pc.is_null(uids)), "no_uid", rejects)
    place = table.column_names.index("reject")
    return table.set_column(place, "reject", rejects).append_column("uid", uids)


@contextmanager
def _open(inputs: Given) -> Iterator[Rejudging]:
    def judge(tables: PartTables) -> Judged:
        columns = [name for name in ("url", "caption", "source_id") if name in inputs.record.columns]
        pairs = tables.alive([inputs.record], columns)
        urls, captions, ids = (
            column(pairs, name, pa.string()) if name in columns else pa.nulls(pairs.num_rows, pa.string())
            for name in ("url", "caption", "source_id")
        )
        uids = column(pairs, "uid", pa.string())
        computed = uids_of(urls, captions, ids)
        return Judged(
            uids=uids,
            decisions=Decisions.keep_all(len(uids)),
            columns={"uid": computed},
            detail="uid from its address, its caption and its id",
        )

    yield Rejudging(judge=judge)


def _deciding(stored: Stored, pair: Stored) -> Stored:
    """The bound that a download is beyond, or the rule of a site that was respected."""
    reason = str(pair["reason"])
    name = f"max_{reason.removeprefix('too_many_')}"
    if reason.replace("_", "-") in stored.get("respect", ()):
        name = "respect"
    return {name: stored[name]} if name in stored else {}


COLLECT = Judgement(name="collect", question="Is it a pair, and the first of its kind?", rejudge=_open)
DOWNLOAD = Judgement(
    name="download",
    section="download",
    question="Is there a picture, and may we have it?",
    label="observed",
    observed="recorded once; the web is not asked again",
    measures=always,
    fixed=fixed_fields(""),
    decides=_deciding,
)
EMBED_IMAGES = Judgement(
    name="embed_images",
    question="Which features does the picture have?",
    label="observed",
    observed="encoded once by the model; the stored vector is used by every replay",
    measures=always,
)
