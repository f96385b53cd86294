"""Common Crawl's WAT files as pools: each picture that a page links to, with each text that stands beside the link.

A link counts where its path begins with IMG@/src, as in MetaCLIP; its URL is joined to the page's base or address, for
many are relative. Records are read one by one and within a limit, so a file of any length takes no more memory.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin

import pyarrow as pa

from evenly.storage.pools.csv_records import BAD_ROW
from evenly.storage.pools.rows import PoolError, RawRows, readable, text_array
from evenly.storage.reading.budget import ROW_BYTES, TOO_LARGE, check_unpacked, stretches
from evenly.storage.stores.files import open_unpacked

COLUMNS = ("url", "caption", "text_of", "page", "uuid")
TEXTS = ("alt", "title", "data-image-title")
_LIMIT_LINE = 65_536
_CHUNK = 1 << 20
_ROWS = 8_192
_HTML = ("Envelope", "Payload-Metadata", "HTTP-Response-Metadata", "HTML-Metadata")
_PAGE = ("Envelope", "WARC-Header-Metadata", "WARC-Target-URI")
Values = tuple[object, object, object, object, object]
Row = Values | str
"""The values of COLUMNS, or why there are none."""


def wat_columns(_path: Path) -> list[str]:
    """url, caption, text_of (which of TEXTS the caption is), page (its address), uuid (MetaCLIP's, of the URL)."""
    return list(COLUMNS)


def wat_rows(path: Path, text: Sequence[str]) -> Iterator[RawRows]:
    """One row per link and text; a link without a text has a null caption, a record that cannot be read is broken."""
    with readable(path, "WAT"), open_unpacked(path) as stream:
        sized = ((0 if isinstance(row, str) else _size(row), row) for row in _rows(stream, path))
        for stretch in stretches(sized, _ROWS):
            columns, not_text = {}, {}
            for index, name in enumerate(COLUMNS):
                values = [None if isinstance(row, str) else row[index] for row in stretch]
                if name in text:
                    not_text[name] = [value is not None and not isinstance(value, str) for value in values]
                    values = [value if isinstance(value, str) else None for value in values]
                columns[name] = text_array(values)
            yield RawRows(pa.table(columns), [row if isinstance(row, str) else "" for row in stretch], not_text)


def _size(row: Values) -> int:
    return sum(len(value) for value in row if isinstance(value, str))


def _rows(stream: BinaryIO, path: Path) -> Iterator[Row]:
    unpacked = 0
    while header := _header(stream, path):
        length = header.get("content-length", "")
        if not (length.isascii() and length.isdigit()):
            raise _broken(path, f"a record of length {length[:40]!r}")
        content = _content(stream, int(length), path)
        unpacked += len(content or b"")
        if path.suffix == ".gz":
            check_unpacked(unpacked, path, "Unpack it, if it is right as it is.")
        if header.get("warc-type", "").lower() == "metadata":
            yield from _links(content)


def _header(stream: BinaryIO, path: Path) -> dict[str, str]:
    """The fields of the next record, names in lower case; {} at the end of the file."""
    line = b"\n"
    while line in (b"\r\n", b"\n"):
        line = stream.readline(_LIMIT_LINE)
    if not line:
        return {}
    if not line.startswith(b"WARC/"):
        raise _broken(path, f"{line[:40]!r} where a record begins")
    fields = {"": ""}
    while (line := stream.readline(_LIMIT_LINE)) not in (b"\r\n", b"\n"):
        if not line.endswith(b"\n") or len(fields) > 1_000:
            raise _broken(path, "a header that does not end")
        name, _, value = line.decode("utf-8", "replace").partition(":")
        fields[name.strip().lower()] = value.strip()
    return fields


def _content(stream: BinaryIO, length: int, path: Path) -> bytes | None:
    """The bytes of a record; None, and passed over, where they are more than a row may have."""
    if length <= ROW_BYTES:
        content = stream.read(length)
        left = length - len(content)
    else:
        content, left = None, length
        while left and (passed := stream.read(min(left, _CHUNK))):
            left -= len(passed)
    if left:
        raise _broken(path, "an end within a record")
    return content


def _links(content: bytes | None) -> Iterator[Row]:
    if content is None:
        yield TOO_LARGE
        return
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        yield BAD_ROW
        return
    html, page = _within(record, _HTML), _within(record, _PAGE)
    if not isinstance(html, dict) or not isinstance(html.get("Links"), list):
        return
    if isinstance(page, str) and len(page) > _LIMIT_LINE:
        yield TOO_LARGE
        return
    base = _within(html, ("Head", "Base"))
    base = _joined(page, base) if isinstance(base, str) else page
    for link in html["Links"]:
        if isinstance(link, dict) and isinstance(link.get("path"), str) and link["path"].startswith("IMG@/src"):
            url = _joined(base, link.get("url"))
            uuid = _uuid(url) if isinstance(url, str) else None
            texts: list[tuple[str | None, object]] = [
                (name, link[name]) for name in TEXTS if link.get(name) not in (None, "")
            ]
            for name, caption in texts or [(None, None)]:
                yield url, caption, name, page, uuid


def _uuid(url: str) -> str:
    return hashlib.sha224(url.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _within(value: object, names: Sequence[str]) -> Any:  # noqa: ANN401 - any JSON value
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _joined(base: object, url: object) -> object:
    """The address that `url` means on a page at `base`; as it stands where it is no address."""
    if not isinstance(base, str) or not isinstance(url, str) or len(base) > _LIMIT_LINE:
        return url
    try:
        return urljoin(base, url.strip())
    except ValueError:
        return url


def _broken(path: Path, trouble: str) -> PoolError:
    return PoolError(f"`path` must be a whole WAT file; got {trouble} in `{path}`. Download it again.")
