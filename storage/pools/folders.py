"""Pools in folders of pictures: captions in files that list pictures, or beside each under its name.

A list is `metadata` or `captions` as .csv, .jsonl or .parquet, anywhere in the folder, with a column `file_name` of
paths relative to the list (Hugging Face's image folder). A picture that no list names has its caption in `.txt` or
`.json` beside it. Names that begin with a dot are skipped, and files that are no picture, list or text.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from evenly.storage.files.image_folders import IMAGE_ENDINGS
from evenly.storage.pools.local_rows import (
    LIMIT_TEXT,
    LocalRow,
    PictureMetadata,
    Place,
    hash_range,
    read_metadata,
)
from evenly.storage.pools.rows import (
    PoolError,
    PoolReader,
    csv_columns,
    csv_rows,
    holds_text,
    jsonl_columns,
    jsonl_rows,
    parquet_columns,
    parquet_rows,
    require_columns,
)
from evenly.storage.pools.texts import as_text, is_utf8_text

_LISTS = {
    "csv": PoolReader(csv_columns, csv_rows),
    "jsonl": PoolReader(jsonl_columns, jsonl_rows),
    "parquet": PoolReader(parquet_columns, parquet_rows),
}
_LIST_NAMES = ("captions", "metadata")
_FILE_NAME = "file_name"
_HASHES = 1 << 17  # that are remembered
_BESIDE = frozenset({"txt", "json"})


def folder_hash(folder: Path) -> str:
    """SHA-256, in hex, over relative names and contents of all that a pool reads in a folder."""
    digest = hashlib.sha256()
    for path, name, reason in _walk(folder):
        content = reason or _sha256(path)
        encoded = name.encode("utf-8", "surrogateescape")
        digest.update(b"%d:%b:%b\n" % (len(encoded), encoded, content.encode()))
    return digest.hexdigest()


def folder_columns(folder: Path) -> set[str] | None:
    """The columns that rows of a folder may have; None where `.json` beside pictures, which is not read, has others."""
    names = [(path, name) for path, name, reason in _walk(folder) if not reason]
    if any(_ending(name) == "json" for _, name in names):
        return None
    lists = [path for path, name in names if _is_list(name)]
    return {_FILE_NAME, "folder", *(column for path in lists for column in _LISTS[_ending(path.name)].columns(path))}


def folder_pictures(folder: Path) -> set[str]:
    """The names of the pictures of a folder that can be read, relative to it."""
    return {name for _, name, reason in _walk(folder) if not reason and _ending(name) in IMAGE_ENDINGS}


def has_typed_lists(folder: Path) -> bool:
    """Whether a list in a folder has columns that are no text: these keep their types."""
    lists = [path for path, name, reason in _walk(folder) if not reason and _is_list(name)]
    return any(_ending(path.name) == "parquet" and not holds_text(path) for path in lists)


def folder_rows(folder: Path, key: str | None) -> Iterator[LocalRow]:
    """Yield the rows of the lists, then the pictures that none names, each by path.

    `key` names the caption in lists and in `.json`; a `.txt` needs no name and is taken first.

    Reasons, besides those of `read_metadata`: missing_picture, outside (of the folder), no_file_name, bad_row; and of
    files: outside_link (a link that leads out), linked_folder, not_a_file, bad_name (no UTF-8).
    """
    entries = list(_walk(folder))
    pictures = {name: path for path, name, reason in entries if not reason and _ending(name) in IMAGE_ENDINGS}
    listed: set[str] = set()
    for path, name, reason in entries:
        if reason:
            yield LocalRow(file_name=name, columns={}, reject=reason)
        elif _is_list(name):
            yield from _listed_rows(path, name.rpartition("/")[0], key, pictures, listed)
    for name, path in pictures.items():
        if name not in listed:
            text, record = (_text(path.with_suffix(f".{ending}"), folder) for ending in ("txt", "json"))
            yield _row(name, path, read_metadata(text, record, None if text is not None else key))


def _listed_rows(
    path: Path, folder: str, key: str | None, pictures: dict[str, Path], listed: set[str]
) -> Iterator[LocalRow]:
    reader, caption = _LISTS[_ending(path.name)], key or "caption"
    require_columns(path, reader.columns(path), {"caption": caption, _FILE_NAME: _FILE_NAME})
    for raw in reader.rows(path, (caption, _FILE_NAME)):
        texts, is_bad = (column.to_pylist() for column in as_text(raw.table[caption], raw.not_text.get(caption, ())))
        names = as_text(raw.table[_FILE_NAME], raw.not_text.get(_FILE_NAME, ()))[0].to_pylist()
        further = raw.table.drop([caption, _FILE_NAME])
        for index, name in enumerate(names):
            if raw.rejects and raw.rejects[index]:
                yield LocalRow(file_name="", columns={}, reject=raw.rejects[index])
                continue
            inside = os.path.normpath(f"{folder}/{name}" if folder else name) if name else ""
            listed.add(inside)
            reject = "bad_caption" if is_bad[index] else "missing_caption" if texts[index] is None else ""
            if not name:
                reject = "no_file_name"
            elif inside.startswith(("../", "/")) or inside == "..":
                reject = "outside"
            elif inside not in pictures:
                reject = "missing_picture"
            row = _row(inside, pictures.get(inside), PictureMetadata(texts[index], {}, reject))
            yield replace(row, listed=(further, index))


def _row(name: str, path: Path | None, companion: PictureMetadata) -> LocalRow:
    columns = {"folder": name.rpartition("/")[0] or None, **companion.columns}
    if companion.reject or path is None:
        return LocalRow(file_name=name, caption=companion.caption, columns=columns, reject=companion.reject)
    size = path.stat().st_size
    return LocalRow(
        file_name=name,
        image_id=_sha256(path),
        caption=companion.caption,
        columns=columns,
        place=Place(path, 0, size),
    )


def _walk(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield (path, relative name, why it cannot be read or "") of all that counts in a folder, sorted by name."""
    root = folder.resolve()
    entries: list[tuple[str, Path, str]] = []
    for place, folders, files in os.walk(folder, onerror=_refuse_unreadable):
        shown = [entry for entry in folders if not entry.startswith(".")]
        linked = [entry for entry in shown if (Path(place) / entry).is_symlink()]
        folders[:] = [entry for entry in shown if entry not in linked]
        names = [entry for entry in files if not entry.startswith(".") and _counts(entry)]
        for entry in (*names, *linked):
            path = Path(place) / entry
            reason = "linked_folder" if entry in linked else _unreadable(path, root)
            entries.append((path.relative_to(folder).as_posix(), path, reason))
    return ((path, name, reason) for name, path, reason in sorted(entries))


def _counts(name: str) -> bool:
    return _ending(name) in IMAGE_ENDINGS | _BESIDE or _is_list(name)


def _is_list(name: str) -> bool:
    stem, _, ending = name.rpartition("/")[2].rpartition(".")
    return stem in _LIST_NAMES and ending in _LISTS


def _unreadable(path: Path, root: Path) -> str:
    if not is_utf8_text(str(path)):
        return "bad_name"
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
        return "outside_link"
    return "" if path.is_file() else "not_a_file"


def _text(path: Path, folder: Path) -> bytes | None:
    """The bytes of a file beside a picture, one beyond the limit at most; None where there is none to read."""
    if not path.is_file() or _unreadable(path, folder.resolve()):
        return None
    with path.open("rb") as stream:
        return stream.read(LIMIT_TEXT + 1)


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _content_hash(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=_HASHES)
def _content_hash(path: Path, _changed: int, size: int, _file: int) -> str:
    """Pools are read for their key, their rows and their pictures: bytes are hashed once, and again when taken."""
    with path.open("rb") as stream:
        return hash_range(stream, 0, size)


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _refuse_unreadable(error: OSError) -> None:
    raise PoolError(f"folders must be readable; got `{error.strerror}` at `{error.filename}`. Allow reading it.")
