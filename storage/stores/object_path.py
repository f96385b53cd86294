"""A path in an object store, used as a path of this machine is.

What needs no store (`/`, `name`, `parent`, `with_suffix`, ...) is pathlib's. What asks the store is written here; all
else that is done with files refuses, because `os.fspath` of such a path does: nothing meant for a store is ever looked
for in a folder that happens to be called `s3:`.

Stores have no folders. One is there while an object lies below it, and `mkdir` does nothing.
"""

import fnmatch
import io
import os
import secrets
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path, PosixPath, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NoReturn

from evenly.storage.errors import StoreError
from evenly.storage.stores.connection import (
    RangeStream,
    connected,
    delete_object,
    end_of,
    is_url,
    parsed_url,
    readable_errors,
    require_conditions,
    until_answered,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

AT_ONCE = 16
"""Requests to one store that this process has under way when it needs many answers."""
_PIECE = 8 << 20  # bytes of a large object that are sent in one request
_SHOWN = {".html": {"Content-Type": "text/html; charset=utf-8"}}
"""Attributes of what a browser is to show rather than to save, by the end of its name."""
_WRITER = "evenlywriter"  # names in an object's metadata the request that wrote it; letters alone, as Azure wants it


def path_at(place: str | os.PathLike[str]) -> Path:
    """The path that a URL or a local path means: ObjectPath for a store, else a plain Path; `~` is expanded.

    Raises InputError for a URL that is not understood.
    """
    if isinstance(place, ObjectPath):
        return place
    text = os.fspath(place)
    if not is_url(text):
        return Path(text).expanduser()
    scheme, bucket, key = parsed_url(text)
    return Path(key) if scheme == "file" else ObjectPath(f"{scheme}:", bucket, *filter(None, key.split("/")))


@dataclass(frozen=True, kw_only=True)
class ObjectVersion:
    """An object as it was read: its bytes, when the store says it was written, and what names that state of it."""

    content: bytes
    changed: datetime
    mark: Mapping[str, str]


class ObjectPath(PosixPath):
    """scheme://bucket/key; made by `path_at`. Errors of the store are StoreError, FileNotFoundError as of files."""

    __slots__ = ()

    def __str__(self) -> str:
        scheme, *names = self.parts
        return f"{scheme}//{'/'.join(names)}"

    def __fspath__(self) -> str:
        raise self._refusal("this")

    @property
    def key(self) -> str:
        """The object's name in its bucket."""
        return "/".join(self.parts[2:])

    @property
    def store(self) -> "ObjectStore":
        """The connection to the bucket."""
        return connected(self.parts[0][:-1], self.parts[1])

    @property
    def bucket(self) -> str:
        """The URL of the bucket alone."""
        return f"{self.parts[0]}//{self.parts[1]}"

    # What is there.

    def exists(self, **_: Any) -> bool:  # noqa: ANN401 - pathlib's `follow_symlinks`
        """Whether there is an object of this name, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self, **_: Any) -> bool:  # noqa: ANN401
        """Whether there is an object of this name; one request."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, **_: Any) -> bool:  # noqa: ANN401
        """Whether an object lies below this name; one request."""
        import obstore

        with readable_errors(self.bucket):
            return any(len(page) for page in obstore.list(self.store, self._prefix, chunk_size=1))

    def stat(self, **_: Any) -> os.stat_result:  # noqa: ANN401
        """Size and time of the last change; FileNotFoundError where there is no object of this name."""
        import obstore

        with readable_errors(self.bucket):
            try:
                meta = obstore.head(self.store, self.key)
            except FileNotFoundError:
                raise self._absent() from None
        changed = meta["last_modified"].timestamp()
        return os.stat_result((0o100644, 0, 0, 1, 0, 0, meta["size"], int(changed), int(changed), int(changed)))

    def iterdir(self) -> Generator["ObjectPath", None, None]:
        """The paths directly below, objects and folders."""
        folders, files = self._children()
        yield from (self / name for name in (*folders, *files))

    def glob(self, pattern: str, **_: Any) -> Generator["ObjectPath", None, None]:  # noqa: ANN401
        """Objects and folders below that match; `**` stands for any number of folders."""
        places: list[ObjectPath] = [self]
        names = PurePosixPath(pattern).parts
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for depth, name in enumerate(names, 1):
                matching = pool.map(partial(_matching, name=name, is_last=depth == len(names)), places)
                places = list(dict.fromkeys(place for match in matching for place in match))
        yield from places

    def rglob(self, pattern: str, **_: Any) -> Generator["ObjectPath", None, None]:  # noqa: ANN401
        """All objects below whose name matches."""
        for key, _size in self.objects():
            place = self.joinpath(*key.split("/"))
            if fnmatch.fnmatchcase(place.name, pattern):
                yield place

    def objects(self) -> Iterator[tuple[str, int]]:
        """Key below this place and size of every object there, in the store's order."""
        import obstore

        below = len(self._prefix or "")
        with readable_errors(self.bucket):
            for page in obstore.list(self.store, self._prefix, chunk_size=1000):
                yield from ((item["path"][below:], int(item["size"])) for item in page)

    # Reading.

    def read_bytes(self) -> bytes:
        """The whole object; FileNotFoundError where there is none."""
        import obstore

        with readable_errors(self.bucket):
            try:
                return bytes(obstore.get(self.store, self.key).bytes())
            except FileNotFoundError:
                raise self._absent() from None

    def read_version(self) -> ObjectVersion:
        """The whole object, and what it takes to replace just that; FileNotFoundError where there is none."""
        import obstore

        with readable_errors(self.bucket):
            try:
                response = obstore.get(self.store, self.key)
                content, meta = bytes(response.bytes()), response.meta
            except FileNotFoundError:
                raise self._absent() from None
        mark = {name: str(meta[name]) for name in ("e_tag", "version") if meta.get(name)}
        return ObjectVersion(content=content, changed=meta["last_modified"], mark=mark)

    def read_range(self, start: int, length: int) -> bytes:
        """`length` bytes from `start` on, fewer at the end of the object."""
        import obstore

        with readable_errors(self.bucket):
            try:
                return bytes(obstore.get_range(self.store, self.key, start=start, length=length)) if length else b""
            except FileNotFoundError:
                raise self._absent() from None

    def read_end(self, length: int) -> tuple[bytes, int]:
        """The last `length` bytes, all where there are fewer, and how many the object has, as `end_of` does."""
        with readable_errors(self.bucket):
            try:
                return end_of(self.store, self.key, length)
            except FileNotFoundError:
                raise self._absent() from None

    def read_text(self, encoding: str | None = None, errors: str | None = None, newline: str | None = None) -> str:
        """The whole object as text."""
        with io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding or "utf-8", errors, newline) as stream:
            return stream.read()

    def open(self, mode: str = "r", *_: Any, **options: Any) -> IO[Any]:  # type: ignore[override]  # noqa: ANN401
        """A stream that reads the object; writing is `write_stream`'s."""
        if mode not in ("r", "rb", "rt"):
            raise self._refusal(f"opening with `{mode}`")
        stream = io.BufferedReader(RangeStream(self.read_range, self.stat().st_size), _PIECE)
        return stream if mode == "rb" else io.TextIOWrapper(stream, options.get("encoding") or "utf-8")

    # Writing.

    def create(self, content: bytes) -> bool:
        """Store an object where there is none; False, and nothing changed, where there is one of another writer."""
        from obstore.exceptions import AlreadyExistsError

        require_conditions(self.store, self.bucket, self.parent.key)
        return self._put_if("create", content, (AlreadyExistsError,))

    def write_bytes(self, data: Any) -> int:  # noqa: ANN401 - any buffer, as pathlib has it
        """Store an object, whatever stood there before; the bytes written."""
        content = bytes(data)
        self.write_stream(io.BytesIO(content))
        return len(content)

    def write_stream(self, stream: BinaryIO) -> None:
        """Store what a stream holds from where it stands, as one object that is whole or not there."""
        import obstore

        require_conditions(self.store, self.bucket, self.parent.key)
        with readable_errors(self.bucket):
            obstore.put(self.store, self.key, stream, chunk_size=_PIECE, attributes=_SHOWN.get(self.suffix))

    def replace_version(self, version: ObjectVersion, content: bytes) -> bool:
        """Store an object in the place of a `version` of it; False, and nothing changed, where it is another now."""
        from obstore.exceptions import PreconditionError

        return self._put_if(version.mark, content, (PreconditionError, FileNotFoundError))

    def unlink(self, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - pathlib's
        """Remove the object."""
        if not missing_ok and not self.is_file():
            raise self._absent()
        with readable_errors(self.bucket):
            delete_object(self.store, self.key)

    def mkdir(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Nothing: a folder is there once something lies in it."""

    # What paths of this machine have that is plain here.

    def resolve(self, strict: bool = False) -> "ObjectPath":  # noqa: ARG002, FBT001, FBT002 - pathlib's
        """The path itself."""
        return self

    def is_absolute(self) -> bool:
        """True."""
        return True

    def is_symlink(self) -> bool:
        """False."""
        return False

    def relative_to(self, other: Any, *_: Any, **__: Any) -> PurePosixPath:  # type: ignore[override]  # noqa: ANN401
        """The names below another place of the same store."""
        return PurePosixPath(*self.parts).relative_to(PurePosixPath(*path_at(other).parts))

    def replace(self, target: Any) -> NoReturn:  # noqa: ANN401, ARG002
        """Refused: stores cannot rename."""
        raise self._refusal("renaming")

    rename = replace

    def _put_if(self, mode: Any, content: bytes, refusals: tuple[type[Exception], ...]) -> bool:  # noqa: ANN401 - of obstore
        """Store an object on a condition; whether it was stored, also where the answer that said so was lost."""
        import obstore

        writer = secrets.token_hex(8)
        put = partial(obstore.put, self.store, self.key, content, mode=mode, use_multipart=False)
        with readable_errors(self.bucket):
            try:
                until_answered(lambda: put(attributes={_WRITER: writer}))
            except refusals:
                try:
                    return obstore.get(self.store, self.key).attributes.get(_WRITER) == writer
                except FileNotFoundError:
                    return False
        return True

    @property
    def _prefix(self) -> str | None:
        return f"{self.key}/" if self.key else None

    def _children(self) -> tuple[list[str], list[str]]:
        import obstore

        below = len(self._prefix or "")
        with readable_errors(self.bucket):
            listing = obstore.list_with_delimiter(self.store, self._prefix)
        folders = [prefix.rstrip("/")[below:] for prefix in listing["common_prefixes"]]
        return folders, [item["path"][below:] for item in listing["objects"]]

    def _absent(self) -> FileNotFoundError:
        return FileNotFoundError(2, "No such object", str(self))

    def _refusal(self, purpose: str) -> StoreError:
        return StoreError(f"`{self}` must be in a folder for {purpose}; it lies in an object store. Use a folder.")


def _matching(place: ObjectPath, *, name: str, is_last: bool) -> list[ObjectPath]:
    """The paths directly below `place` under a name or pattern: folders alone unless it `is_last`."""
    if name == "**":
        parents = {parent for key, _ in place.objects() for parent in PurePosixPath(key).parents}
        return [place.joinpath(*parent.parts) for parent in sorted({PurePosixPath(), *parents})]
    if not any(letter in name for letter in "*?["):
        return [place / name] if not is_last or (place / name).exists() else []
    folders, files = place._children()  # noqa: SLF001 - of this module's own class
    return [place / entry for entry in (*folders, *(files if is_last else ())) if fnmatch.fnmatchcase(entry, name)]
