"""Pools in webdataset shards: plain tars in which members of one name but for the ending make a sample.

The name ends at the first dot of its last part, as in webdataset. A sample has one picture, and its caption in `.txt`
or in a `.json` beside it, whose other keys become columns; members of other endings are not looked at. Names that begin
with a dot are skipped.

Hostile names, links and sizes act on nothing, as nothing is unpacked. Headers are parsed by Python's tarfile; long
names and pax records are read within a limit. A tar that is compressed is refused: what it unpacks to has no bound, and
no member of it can be read by its place.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

from evenly.storage.files.image_folders import IMAGE_ENDINGS
from evenly.storage.pools.local_rows import LIMIT_TEXT, LocalRow, Place, hash_range, read_metadata
from evenly.storage.pools.rows import PoolError, readable

_BLOCK = tarfile.BLOCKSIZE
_LIMIT = 65_536  # bytes of a long name, or of pax records
_CHUNK = 1 << 20
_SPARSE_EXTENDED, _SPARSE_GOES_ON = 482, 504  # bytes of a header, and of a block that goes on with it
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_CONTENT = (
    tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE,
)  # fmt: skip
_PAX_NAMES, _SPARSE = ("path", "size"), "GNU.sparse"  # all that is looked at; other records may be any number
_PAX_RECORD = re.compile(rb"(\d{1,20}) ([^=\n]{1,1000})=")


class Member(NamedTuple):
    """A member: `name` without a leading `./`, where its content lies, and in `refused` why it is none, or "".

    refused: link, special_file, sparse_file, bad_name (no UTF-8, absolute, or with `..`).
    """

    name: str
    offset: int
    size: int
    refused: str = ""


def read_members(stream: BinaryIO, path: Path) -> Iterator[Member]:
    """Yield the members of a tar, folders left out, in order; `stream` may be moved between two of them.

    Raises PoolError where it is no plain tar, ends within a member, or holds something behind its end.
    """
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    offset, facts = 0, dict[str, bytes]()
    while offset < end:
        header = _read(stream, offset, _BLOCK, end, path)
        if not any(header):
            _refuse_more(stream, path)
            return
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise _broken(path, f"no header of a tar at byte {offset} ({error})") from None
        offset += _BLOCK
        size = _size(info, facts, path)
        if info.type == tarfile.GNUTYPE_SPARSE:
            offset = _behind_sparse(stream, header, offset, end, path)
        if info.type in _WITHOUT_CONTENT:
            size = 0
        if size < 0 or offset + size > end:
            raise _broken(path, f"a member of {size} bytes at byte {offset}, beyond its end")
        if info.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            facts |= _named(info.type, _limited(stream, offset, size, end, path), path)
        elif info.type not in (tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGLINK):
            name = facts["path"].decode("utf-8", "surrogateescape") if "path" in facts else info.name
            if info.type != tarfile.DIRTYPE:
                yield _member(info, name, offset, size, sparse=_SPARSE in facts)
            facts = {}
        offset += -(-size // _BLOCK) * _BLOCK


def _member(info: tarfile.TarInfo, name: str, offset: int, size: int, *, sparse: bool) -> Member:
    while name.startswith("./"):
        name = name[2:]
    if info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
        return Member(name, offset, 0, "link")
    if sparse or info.type == tarfile.GNUTYPE_SPARSE:
        return Member(name, offset, 0, "sparse_file")
    if info.type not in _FILES:
        return Member(name, offset, 0, "special_file")
    return Member(name, offset, size, "" if is_inside(name) else "bad_name")


def is_inside(name: str) -> bool:
    """Whether a name is UTF-8 and stays below the folder it is read from: not absolute, no `..`, no null."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return bool(name) and "\0" not in name and not name.startswith("/") and ".." not in name.split("/")


def _size(info: tarfile.TarInfo, facts: dict[str, bytes], path: Path) -> int:
    try:
        return int(facts["size"]) if "size" in facts and info.type in _FILES else info.size
    except ValueError:
        raise _broken(path, f"a size that is no number: {facts['size'][:40]!r}") from None


def _named(kind: bytes, content: bytes, path: Path) -> dict[str, bytes]:
    """A header's facts of the member after it: its name and size, and whether it is sparse."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.rstrip(b"\0")}
    facts, offset = dict[str, bytes](), 0
    while offset < len(content) and content[offset]:
        record = _PAX_RECORD.match(content, offset)
        end = offset + int(record[1]) if record else 0
        if record is None or end <= record.end() - 1 or end > len(content):
            raise _broken(path, "pax records that do not add up")
        name = record[2].decode("utf-8", "replace")
        if name in _PAX_NAMES or name.startswith(_SPARSE):
            facts[_SPARSE if name.startswith(_SPARSE) else name] = content[record.end() : end - 1]
        offset = end
    return facts


def _behind_sparse(stream: BinaryIO, header: bytes, offset: int, end: int, path: Path) -> int:
    goes_on = header[_SPARSE_EXTENDED]
    while goes_on:
        goes_on = _read(stream, offset, _BLOCK, end, path)[_SPARSE_GOES_ON]
        offset += _BLOCK
    return offset


def _limited(stream: BinaryIO, offset: int, size: int, end: int, path: Path) -> bytes:
    if size > _LIMIT:
        raise _broken(path, f"a header of {size} bytes, above {_LIMIT}")
    return _read(stream, offset, size, end, path)


def _read(stream: BinaryIO, offset: int, size: int, end: int, path: Path) -> bytes:
    stream.seek(offset)
    content = stream.read(size)
    if len(content) < size:
        raise _broken(path, f"{end} bytes, where one more block begins at {offset}")
    return content


def _refuse_more(stream: BinaryIO, path: Path) -> None:
    while content := stream.read(_CHUNK):
        if any(content):
            raise _broken(path, "more behind its end, as where tars are joined: unpack and pack them anew")


def _broken(path: Path, reason: str) -> PoolError:
    return PoolError(f"`path` must be a plain tar, whole and not compressed; got {reason} in `{path}`. Make it anew.")


@dataclass
class _Sample:
    name: str
    pictures: list[Member] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    endings: set[str] = field(default_factory=set)
    reject: str = ""


def webdataset_rows(path: Path, key: str | None) -> Iterator[LocalRow]:
    """Yield the samples of a shard in order; `key` names the caption in their JSON, see `read_metadata`.

    Reasons, besides those of `read_metadata` and of refused members: duplicate_key (a sample of this name came before),
    duplicate_member, many_pictures, missing_picture.
    """
    marks: set[bytes] = set()
    with readable(path, "tar"), path.open("rb") as stream:
        for name, members in groupby(_shown(read_members(stream, path)), key=lambda member: _split(member.name)[0]):
            sample = _gather(stream, name, members)
            mark = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
            if mark in marks:
                sample.reject = "duplicate_key"
            marks.add(mark)
            yield _row(stream, path, sample, key)


def _shown(members: Iterator[Member]) -> Iterator[Member]:
    return (member for member in members if not member.name.rpartition("/")[2].startswith("."))


def _split(name: str) -> tuple[str, str]:
    """(the name of the sample, the ending in lower case)."""
    folder, slash, last = name.rpartition("/")
    stem, _, ending = last.partition(".")
    return folder + slash + stem, ending.lower()


def _gather(stream: BinaryIO, name: str, members: Iterator[Member]) -> _Sample:
    sample = _Sample(name)
    for member in members:
        ending = _split(member.name)[1]
        if member.refused:
            sample.reject = sample.reject or member.refused
        elif ending in sample.endings:
            sample.reject = sample.reject or "duplicate_member"
        elif ending in IMAGE_ENDINGS:
            sample.pictures.append(member)
        elif ending in ("txt", "json"):
            stream.seek(member.offset)
            sample.texts[ending] = stream.read(min(member.size, LIMIT_TEXT + 1))
        sample.endings.add(ending)
    return sample


def _row(stream: BinaryIO, path: Path, sample: _Sample, key: str | None) -> LocalRow:
    companion = read_metadata(sample.texts.get("txt"), sample.texts.get("json"), key)
    count = len(sample.pictures)
    pictures = "" if count == 1 else "many_pictures" if count else "missing_picture"
    reject = sample.reject or pictures or companion.reject
    if reject:
        return LocalRow(file_name=sample.name, caption=companion.caption, columns=companion.columns, reject=reject)
    picture = sample.pictures[0]
    return LocalRow(
        file_name=picture.name,
        image_id=hash_range(stream, picture.offset, picture.size),
        caption=companion.caption,
        columns=companion.columns,
        place=Place(path, picture.offset, picture.size),
    )
