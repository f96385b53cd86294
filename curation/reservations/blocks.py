"""Blocks of metadata in picture files: where XMP packets and a C2PA manifest store lie in each format.

Pillow, which has read the picture, gives segments and chunks where it keeps them; the others are walked here, each
block once. Raises ValueError where blocks do not fit together.
"""

import struct
from collections.abc import Iterator

from PIL import Image

_C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_MOST_BLOCKS = 100_000
_XMP_IN_GIF, _C2PA_IN_GIF = b"XMP DataXMP", b"C2PA_GIF"
_MAGIC_TRAILER = 257  # bytes at the end of XMP in a GIF that let readers skip it, before the last zero


def xmp_packets(picture: Image.Image, data: bytes, kind: str) -> list[bytes]:
    """The XMP packets of a picture. Of a JPEG the main packet: what it says of mining lies there."""
    if kind == "gif":
        return [content[:-_MAGIC_TRAILER] for name, content in _gif_extensions(data) if name == _XMP_IN_GIF]
    packet = picture.info.get("xmp")
    if isinstance(packet, str):
        packet = packet.encode("utf-8", "surrogatepass")
    return [packet] if isinstance(packet, bytes) and packet else []


def c2pa_store(picture: Image.Image, data: bytes, kind: str) -> bytes:
    """The JUMBF boxes of a C2PA manifest store, or b"" where there is none."""
    if kind == "jpeg":
        return _jpeg_boxes([content for name, content in getattr(picture, "applist", ()) if name == "APP11"])
    if kind == "png":
        return b"".join(chunk[1] for chunk in getattr(picture, "private_chunks", ()) if chunk[0] == b"caBX")
    if kind == "webp":
        return b"".join(content for name, content in _riff_chunks(data) if name == b"C2PA")
    if kind == "gif":
        return b"".join(content for name, content in _gif_extensions(data) if name.startswith(_C2PA_IN_GIF))
    return b"".join(_uuid_boxes(data)) if kind == "avif" else b""


def _jpeg_boxes(segments: list[bytes]) -> bytes:
    """APP11 segments joined (ISO 19566-5): mark, number of the box, number of the segment, header of the box, data."""
    numbered = [
        (*struct.unpack_from(">HII", segment, 2), segment)
        for segment in segments
        if segment[:2] == b"JP" and len(segment) >= 16
    ]
    content, last = b"", None
    for box, _, length, segment in sorted(numbered, key=lambda segment: segment[:2]):
        header = 0 if box != last else 16 if length == 1 else 8  # all segments of a box repeat its header
        content += segment[8 + header :]
        last = box
    return content


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position + 8 <= len(data):
        name, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        yield name, data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2


def _gif_extensions(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Application extensions: name and data; of XMP the bytes as they lie, which are no sub-blocks."""
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while position < len(data) and data[position] != 0x3B:
        if data[position] == 0x2C:  # a frame: descriptor, colours, one byte, blocks
            flags = data[position + 9]
            position = _after_blocks(data, position + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
        elif data[position : position + 3] == b"\x21\xff\x0b":
            start, end = position + 14, _after_blocks(data, position + 14)
            name = data[position + 3 : start]
            yield name, data[start : end - 1] if name == _XMP_IN_GIF else _joined(data, start, end)
            position = end
        elif data[position] == 0x21:
            position = _after_blocks(data, position + 2)
        else:
            raise ValueError("blocks of a GIF that do not follow each other")


def _after_blocks(data: bytes, position: int) -> int:
    while position < len(data) and data[position]:
        position += 1 + data[position]
    return position + 1


def _joined(data: bytes, start: int, end: int) -> bytes:
    parts = list[bytes]()
    while start < end - 1:
        parts.append(data[start + 1 : start + 1 + data[start]])
        start += 1 + data[start]
    return b"".join(parts)


def _uuid_boxes(data: bytes) -> Iterator[bytes]:
    """The manifest in each `uuid` box of C2PA at the top of a file of ISO boxes."""
    for kind, content in boxes_of(data):
        if kind == b"uuid" and content[:16] == _C2PA_UUID:
            purpose, _, content_after = content[20:].partition(b"\0")  # after version and flags
            if purpose == b"manifest":
                yield content_after[8:]  # after an offset


def boxes_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes (ISO 14496-12, JUMBF) that lie one after another in `data`: kind and content."""
    position = 0
    for _ in range(_MOST_BLOCKS):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        header = 8
        if length == 1:
            header, length = 16, int.from_bytes(data[position + 8 : position + 16], "big")
        length = length or len(data) - position
        if length < header or position + length > len(data):
            raise ValueError("a box longer than what holds it")
        yield kind, data[position + header : position + length]
        position += length
    raise ValueError(f"more than {_MOST_BLOCKS} boxes")
