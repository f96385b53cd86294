"""Limits of every picture, wherever it comes from: most show by its bytes before anything is decoded.

Of several frames only the first is ever decoded. Each is a plain count, the same on every machine, so that nearly all
of what would be too slow is refused by it and the budget of processor seconds remains for what nobody thought of.
"""

import re
import struct

MAX_BYTES = 20_000_000
MAX_PIXELS = 80_000_000  # by the header; a recipe's download may allow its own pictures more
MAX_SCANS = 100  # of a JPEG; encoders write up to about 20, and each may cost as much as the whole picture
MAX_CHUNKS = 20_000  # of a PNG; 20 MB in pieces of 8 kB, as libpng writes them, are 2,500
MAX_SEGMENTS = 10_000  # of a JPEG before and between scans; an ICC profile of 16 MB has 255
MAX_RLE_BYTES = 2_000_000  # of a BMP in runs, which Pillow reads in Python, one run after the other

_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # after picture data: no stuffed zero, no restart
_START_OF_SCAN, _END, _ALONE = 0xDA, 0xD9, frozenset({0x01, *range(0xD0, 0xD9)})


def excess(data: bytes, kind: str) -> str | None:
    """The parts of which a picture of format `kind` has too many, in words, or None."""
    if kind == "jpeg":
        return _jpeg_excess(data)
    if kind == "bmp":
        return _bmp_excess(data)
    return _png_excess(data) if kind == "png" else None


def _jpeg_excess(data: bytes) -> str | None:
    if data.count(b"\xff\xda") <= MAX_SCANS and data.count(b"\xff") <= MAX_SEGMENTS:
        return None  # fewer bytes that could be markers than markers are allowed
    scans = segments = 0
    position = 2
    while (match := _MARKER.search(data, position)) is not None:
        marker = data[match.start() + 1]
        position = match.end()
        if marker == _END:
            return None
        if marker in _ALONE:
            continue
        segments += 1
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS:
            return f"more than {MAX_SCANS} scans"
        if segments > MAX_SEGMENTS:
            return f"more than {MAX_SEGMENTS} segments"
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    return None


def _png_excess(data: bytes) -> str | None:
    position, chunks = 8, 0
    while position + 12 <= len(data):
        chunks += 1
        if chunks > MAX_CHUNKS:
            return f"more than {MAX_CHUNKS} chunks"
        (length,) = struct.unpack_from(">I", data, position)
        position += 12 + length
    return None


def _bmp_excess(data: bytes) -> str | None:
    compression = int.from_bytes(data[30:34], "little")
    in_runs = int.from_bytes(data[14:18], "little") >= 40 and compression in (1, 2)
    return f"more than {MAX_RLE_BYTES:,} bytes in runs" if in_runs and len(data) > MAX_RLE_BYTES else None
