"""Pools in webdataset shards: plain tars in which members of one name but for the ending make a sample.

The name ends at the first dot of its last part, as in webdataset. A sample has one picture, and its caption in `.txt`
or in a `.json` beside it, whose other keys become columns; members of other endings are not looked at. Names that begin
with a dot are skipped.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from evenly.storage.files.image_folders import IMAGE_ENDINGS
from evenly.storage.pools.local_rows import LIMIT_TEXT, LocalRow, Place, hash_range, read_metadata
from evenly.storage.pools.rows import readable
from evenly.storage.pools.tar_members import Member, read_members


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
