"""Pictures as people have them: a folder of classes to learn from, and a folder, file or Parquet to judge.

A folder is walked to its end. Names that begin with a dot are skipped, whatever is in them; so are endings of no
picture. A link that leads out of the folder is an error: what lies there was not handed in.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from evenly.keys import is_text_type
from evenly.storage.decoders.structure import MAX_BYTES
from evenly.storage.errors import InputError, TooLargeError
from evenly.storage.pools.texts import is_utf8_text
from evenly.storage.reading.parquet import bounded_batches
from evenly.storage.tables.arrow_files import first_line, table_of_rows
from evenly.storage.tables.hashing import is_list

BYTES_COLUMNS = ("image", "image_bytes", "bytes", "picture", "content", "jpg", "png", "webp")
PATH_COLUMNS = ("path", "file_name", "image_path", "file", "image")
NAME_COLUMNS = ("name", "key", "uid", "id", "file_name", "path")
_BATCH_ROWS = 32  # pictures of some megabytes


@dataclass(frozen=True, kw_only=True)
class PictureColumns:
    """Names of the columns in use; `name` is None where pictures are called by their row."""

    picture: str
    name: str | None


def picture_columns(path: Path, picture: str | None = None, name: str | None = None) -> PictureColumns:
    """The columns to read: those named, else those of the usual names. Raises InputError where there is none."""
    with _readable(path):
        schema = pq.read_schema(path)
    if len(set(schema.names)) < len(schema.names):
        raise InputError(f"columns must have different names; got {', '.join(schema.names)} at `{path}`. Rename one.")
    for column in (picture, name):
        if column is not None and column not in schema.names:
            raise InputError(
                f"`column` must be one of the file's; got `{column}` at `{path}`. There: {', '.join(schema.names)}."
            )
    chosen = picture or _first(schema, BYTES_COLUMNS, _holds_bytes) or _first(schema, PATH_COLUMNS, is_text_type)
    if chosen is None or not (_holds_bytes(schema.field(chosen).type) or is_text_type(schema.field(chosen).type)):
        actual = "none" if chosen is None else f"`{chosen}` of type {schema.field(chosen).type}"
        raise InputError(
            f"`column` must hold bytes of pictures, or paths; got {actual} at `{path}`. Columns there: "
            f"{', '.join(schema.names) or 'none'}. Name one."
        )
    named = name or _first(schema, NAME_COLUMNS, lambda kind: is_text_type(kind) or pa.types.is_integer(kind))
    return PictureColumns(picture=chosen, name=named)


def column_values(path: Path, columns: PictureColumns) -> Iterator[tuple[str, bytes | str | None]]:
    """(name, bytes or path or None) of each row, a few rows in memory at a time."""
    row = 0
    wanted = list(dict.fromkeys([columns.picture, columns.name or columns.picture]))
    with _readable(path):
        for batch in bounded_batches(path, most_rows=_BATCH_ROWS, columns=wanted):
            names = batch[columns.name].to_pylist() if columns.name else [None] * batch.num_rows
            for name, value in zip(names, batch[columns.picture].to_pylist(), strict=True):
                yield f"row {row}" if name is None else str(name), _value(value)
                row += 1


def box_values(path: Path, column: str) -> Iterator[list[object]]:
    """The items of a column of lists in each row, a box for each; nothing for null, a few rows in memory at a time.

    Raises InputError now for a column that is not there, or holds no lists of lists.
    """
    with _readable(path):
        schema = pq.read_schema(path)
    kind = schema.field(column).type if schema.names.count(column) == 1 else None
    if kind is None or not (is_list(kind) and is_list(kind.value_type)):
        raise InputError(
            f"`boxes` must be a column of lists of boxes, [x0, y0, x1, y1] each; got `{column}` "
            f"({'not there' if kind is None else kind}) at `{path}`. Columns: {', '.join(schema.names) or 'none'}."
        )
    return _lists(path, column)


def _lists(path: Path, column: str) -> Iterator[list[object]]:
    with _readable(path):
        for batch in bounded_batches(path, most_rows=_BATCH_ROWS, columns=[column]):
            yield from (value or [] for value in batch[column].to_pylist())


def _value(value: object) -> bytes | str | None:
    if isinstance(value, dict):
        return value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes | str) else None


def _first(schema: pa.Schema, names: tuple[str, ...], fits: Callable[[pa.DataType], bool]) -> str | None:
    return next((name for name in names if name in schema.names and fits(schema.field(name).type)), None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except TooLargeError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise InputError(
            f"`images` must be a readable Parquet file; got `{first_line(error)}` at `{path}`. Make it anew."
        ) from None


IMAGE_ENDINGS = frozenset({
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "avif", "tif", "tiff", "mpo", "ppm", "pgm", "pbm", "pnm",
})  # fmt: skip
_SCHEMA = pa.schema([(name, pa.string()) for name in ("path", "label", "image_id")])


class Picture(NamedTuple):
    """A picture by `name`: its `content`, or b"" and in `error` why: empty, too_large, unreadable, missing, outside."""

    name: str
    content: bytes
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """`rows`: path (relative, with `/`), label, image_id (sha256 of the bytes, hex), sorted by path.

    `skipped` counts what is no row, by reason: hidden, no_class (beside the class folders), not_an_image (its ending),
    not_a_file, linked_folder, bad_name (no UTF-8), and the words of `Picture.error`.
    """

    rows: pa.Table
    skipped: Mapping[str, int]


def read_image_folder(folder: Path, *, limit_bytes: int = MAX_BYTES) -> ImageFolder:
    """The pictures of a folder `<class>/.../<picture>`: the label is the name of the outermost folder.

    Raises InputError for a folder without a picture in a class, and for a link that leads out of it.
    """
    skipped: Counter[str] = Counter()
    rows: list[tuple[str, str, str]] = []
    for name in _walk(folder, skipped):
        label, slash, _ = name.partition("/")
        if not slash:
            skipped["no_class"] += 1
            continue
        image_id, error = _hash(folder / name, limit_bytes)
        if error:
            skipped[error] += 1
        else:
            rows.append((name, label, image_id))
    if not rows:
        raise InputError(
            f"`folder` must hold folders of pictures, one a class; got no picture in a class at `{folder}` "
            f"(skipped: {_listed(skipped)}). Lay it out as `<class>/<picture>`."
        )
    return ImageFolder(rows=table_of_rows(rows, _SCHEMA), skipped=dict(sorted(skipped.items())))


def read_pictures(
    path: Path, *, column: str | None = None, name: str | None = None, limit_bytes: int = MAX_BYTES
) -> Iterator[Picture]:
    """The pictures of a folder (by path), of one file, or of a Parquet file (in its order), read one by one.

    A Parquet file has a `column` of bytes, of Hugging Face's {bytes, path}, or of paths relative to its own folder,
    and may have one that names the pictures; left out, they are found by their usual names, and a picture without a
    name is called `row 0` and so on. What cannot be read is a `Picture` with an error. Raises InputError now where
    there is nothing that could be read.
    """
    if path.is_dir():
        skipped: Counter[str] = Counter()
        names = _walk(path, skipped)
        if not names:
            raise InputError(
                f"`images` must hold pictures; got none at `{path}` (skipped: {_listed(skipped)}). Correct the path."
            )
        return (_read(path / file_name, file_name, limit_bytes) for file_name in names)
    if path.suffix.lower() == ".parquet" and path.is_file():
        columns = picture_columns(path, column, name)
        return (
            _of_value(path.parent, picture_name, value, limit_bytes)
            for picture_name, value in column_values(path, columns)
        )
    if _ending(path.name) in IMAGE_ENDINGS and path.is_file():
        return iter([_read(path, path.name, limit_bytes)])
    raise InputError(f"`images` must be a folder, a picture or a Parquet file; got `{path}`. Correct the path.")


def count_pictures(path: Path) -> int:
    """The number of pictures that `read_pictures` gives of a folder, of one file, or of a Parquet file."""
    if path.is_dir():
        return len(_walk(path, Counter()))
    return int(pq.read_metadata(path).num_rows) if path.suffix.lower() == ".parquet" else 1


def read_picture(folder: Path, name: str, *, limit_bytes: int = MAX_BYTES) -> Picture:
    """The picture at the relative path `name` in `folder`; one that lies outside is not read."""
    try:
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a null in the name, a circle of links
        inside = False
    return _read(folder / name, name, limit_bytes) if inside else Picture(name, b"", "outside")


def _of_value(folder: Path, name: str, value: bytes | str | None, limit_bytes: int) -> Picture:
    if value is None:
        return Picture(name, b"", "missing")
    if isinstance(value, str):
        return read_picture(folder, value, limit_bytes=limit_bytes)._replace(name=name)
    error = "empty" if not value else "too_large" if len(value) > limit_bytes else ""
    return Picture(name, b"" if error else value, error)


def _read(path: Path, name: str, limit_bytes: int) -> Picture:
    try:
        if not path.is_file():  # a pipe would wait for ever
            return Picture(name, b"", "missing")
        with path.open("rb") as stream:
            content = stream.read(min(os.fstat(stream.fileno()).st_size, limit_bytes) + 1)
    except (OSError, ValueError):  # ValueError: a name with a null in it
        return Picture(name, b"", "unreadable")
    error = "empty" if not content else "too_large" if len(content) > limit_bytes else ""
    return Picture(name, b"" if error else content, error)


def _hash(path: Path, limit_bytes: int) -> tuple[str, str]:
    """(sha256 in hex, "") or ("", why there is none)."""
    content, error = _read(path, "", limit_bytes)[1:]
    return ("", error) if error else (hashlib.sha256(content).hexdigest(), "")


def _walk(folder: Path, skipped: Counter[str]) -> list[str]:
    """Relative paths of the pictures in a folder, with `/`, sorted; counts in `skipped` what is none."""
    if not folder.is_dir():
        raise InputError(f"`folder` must be a folder; got `{folder}`. Correct the path.")
    root, names = folder.resolve(), []
    for place, folders, files in os.walk(folder, onerror=_refuse_unreadable):
        hidden = [entry for entry in folders if entry.startswith(".")]
        linked = [entry for entry in folders if entry not in hidden and (Path(place) / entry).is_symlink()]
        for entry in linked:
            _refuse_outside(Path(place) / entry, root)
        folders[:] = [entry for entry in folders if entry not in {*hidden, *linked}]
        skipped.update(["hidden"] * len(hidden) + ["linked_folder"] * len(linked))
        for entry in files:
            if reason := _not_a_picture(Path(place) / entry, root):
                skipped[reason] += 1
            else:
                names.append((Path(place) / entry).relative_to(folder).as_posix())
    return sorted(names)


def _not_a_picture(path: Path, root: Path) -> str:
    """Why a file is no row, or ""."""
    if path.name.startswith("."):
        return "hidden"
    if _ending(path.name) not in IMAGE_ENDINGS:
        return "not_an_image"
    if not is_utf8_text(str(path)):
        return "bad_name"
    if path.is_symlink():
        _refuse_outside(path, root)
        if not path.exists():
            return "missing"
    return "" if path.is_file() else "not_a_file"


def _refuse_outside(link: Path, root: Path) -> None:
    target = Path(os.path.realpath(link))
    if not target.is_relative_to(root):
        raise InputError(
            f"links must stay in `{root}`; got `{link}`, which leads to `{target}`. Copy what it leads to."
        )


def _refuse_unreadable(error: OSError) -> None:
    raise InputError(f"folders must be readable; got `{error.strerror}` at `{error.filename}`. Allow reading it.")


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _listed(skipped: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items())) or "nothing"
