"""One budget for all that is read: bytes of a row and of rows held at once, columns, and what a file may unpack to."""

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from evenly.storage.errors import TooLargeError

ROW_BYTES = 4_000_000
"""Of a line, a record or an object; and of the rows that are held at once while they are parsed."""

MOST_COLUMNS = 1_000
"""Of a table, or keys beside pictures: these are whatever their author wrote."""

TOO_LARGE = "row_too_large"
"""Why a row above the budget is none."""

LIST_BYTES = 256_000_000
"""Of a list that is read whole: four million hashes."""

_RATIO, _UNPACKED_BYTES = 100, 128 << 20
_LINE_BYTES = 32  # that a line takes beside its text, at least
_PIECE = 1 << 20
Item = TypeVar("Item")


def most_unpacked(stored: int) -> int:
    """The bytes that a file of `stored` bytes may unpack to: a hundred times as many, or 128 MiB."""
    return max(_RATIO * stored, _UNPACKED_BYTES)


def check_unpacked(n_bytes: int, path: Path, remedy: str, *, stored: int | None = None) -> None:
    """Raise TooLargeError where a file has unpacked to more than it may; `stored` is its size, where that is known."""
    if n_bytes <= _UNPACKED_BYTES:
        return
    most = most_unpacked(path.stat().st_size if stored is None else stored)
    if n_bytes > most:
        raise TooLargeError(
            f"`{path}` must unpack to at most {most:,} bytes, the larger of 100 times its size and 128 MiB; got more. "
            f"{remedy}"
        )


def check_width(names: Collection[str], path: Path, place: str = "") -> None:
    """Raise TooLargeError where a table has more columns than it may."""
    if len(names) > MOST_COLUMNS:
        raise TooLargeError(
            f"a table must have at most {MOST_COLUMNS:,} columns; got {len(names):,} at `{path}`{place}. Keep those "
            "that you need, or write the others into one as JSON."
        )


def read_whole(path: Path, *, limit_bytes: int, field: str) -> bytes:
    """The bytes of a small file. Raises OSError, and TooLargeError where it is none: that is found out by reading."""
    with path.open("rb") as stream:
        content = stream.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise TooLargeError(
            f"`{field}` must be a file of at most {limit_bytes:,} bytes; got more at `{path}`. Check that it is the "
            "right one, or split it."
        )
    return content


def read_text(path: Path, *, field: str, limit_bytes: int = LIST_BYTES, encoding: str = "utf-8-sig") -> str:
    """The text of a small file, lines ended by a line feed. Raises UnicodeDecodeError and as `read_whole`."""
    text = read_whole(path, limit_bytes=limit_bytes, field=field).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def bounded_lines(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a file with their ends; b"" in the place of one above ROW_BYTES, which is passed over.

    Raises TooLargeError for a packed file that unpacks to more than it may.
    """
    total, is_packed = 0, path.suffix == ".gz"
    for line in iter(partial(stream.readline, ROW_BYTES + 1), b""):
        total += len(line) + _LINE_BYTES
        if len(line) <= ROW_BYTES:
            yield line
        else:
            piece = line
            while piece and not piece.endswith(b"\n"):
                if is_packed:
                    check_unpacked(total, path, "Unpack it, if it is right as it is.")
                piece = stream.readline(_PIECE)
                total += len(piece)
            yield b""
        if is_packed and total > _UNPACKED_BYTES:  # asked for each line
            check_unpacked(total, path, "Unpack it, if it is right as it is.")


def stretches(rows: Iterable[tuple[int, Item]], most_rows: int) -> Iterator[list[Item]]:
    """Items, which come with their bytes, in lists of `most_rows`, or fewer that have ROW_BYTES together."""
    stretch: list[Item] = []
    size = 0
    for n_bytes, item in rows:
        stretch.append(item)
        size += n_bytes
        if len(stretch) >= most_rows or size >= ROW_BYTES:
            yield stretch
            stretch, size = [], 0
    if stretch:
        yield stretch
