"""Pictures small as files, and slow, large or odd to decode: each kind that decoders are known to suffer from."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image

SIDE = 8900  # 79 million pixels: just below the default `max_pixels`


def encoded(kind: str, mode: str, size: tuple[int, int], **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    size: tuple[int, int], rows: bytes, *extra: bytes, depth: int = 8, colour: int = 2, interlace: int = 0
) -> bytes:
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    body = b"".join((chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + body


def _small_png(*extra: bytes) -> bytes:
    return png((8, 8), bytes(25 * 8), *extra)


def progressive_scans(scans: int = 3000, side: int = 2000) -> bytes:
    """A progressive JPEG whose last scan, one that refines nothing, is sent over and over."""
    data = encoded("JPEG", "RGB", (side, side), progressive=True, quality=90)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def _jpeg_segments() -> bytes:
    data = encoded("JPEG", "RGB", (8, 8))
    return data[:2] + b"\xff\xfe\x00\x02" * 400_000 + data[2:]


def _restarts() -> bytes:
    """A flat JPEG with a restart after each block: Pillow writes none, so the interval is the encoder's."""
    return encoded("JPEG", "L", (4000, 4000), restart_marker_blocks=1)


def _flat_rle_bmp(side: int = 3000) -> bytes:
    """BMP in runs of one pixel, which Pillow reads in Python: four times the work of a run for each pixel."""
    row = b"\x01\x00" * side + b"\x00\x00"
    pixels = row * side + b"\x00\x01"
    palette = bytes(1024)
    offset = 14 + 40 + len(palette)
    header = b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(pixels), 2835, 2835, 256, 0)
    return header + info + palette + pixels


def _many_frames(kind: str) -> bytes:
    frames = [Image.new("L" if kind == "GIF" else "RGB", (64, 64), 1 + n % 255) for n in range(1500)]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:], duration=10, loop=0)
    return stream.getvalue()


def _interlaced(side: int = 5000) -> bytes:
    """A flat interlaced PNG in which each of the seven passes is a picture of its own."""
    rows = 0
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    for x0, y0, dx, dy in passes:
        rows += -(-(side - y0) // dy) * (1 + 3 * -(-(side - x0) // dx))
    return png((side, side), bytes(rows), interlace=1)


def _gif_comments() -> bytes:
    data = encoded("GIF", "L", (8, 8))
    comment = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 8 + b"\x00"
    head = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[:head] + comment * 9000 + data[head:]


def _icc_bomb() -> bytes:
    return _small_png(chunk(b"iCCP", b"bomb\x00\x00" + zlib.compress(bytes(200_000_000), 9)))


def _text_bomb(kind: bytes) -> bytes:
    text = zlib.compress(bytes(200_000_000), 9)
    head = b"bomb\x00\x00" if kind == b"zTXt" else b"bomb\x00\x01\x00\x00\x00"
    return _small_png(chunk(kind, head + text))


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x9286] = b"\x00" * 60_000
    return encoded("JPEG", "RGB", (SIDE, SIDE), exif=exif)


def _mpo() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(stream, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64))])
    return stream.getvalue()


def _palette() -> bytes:
    """A PNG of one bit per pixel whose palette has transparency: it grows to 32 bits per pixel."""
    return png(
        (SIDE, SIDE), bytes((-(-SIDE // 8) + 1) * SIDE), chunk(b"PLTE", bytes(6)),
        chunk(b"tRNS", b"\x80\x80"), depth=1, colour=3,
    )  # fmt: skip


FLAT = (SIDE, SIDE)
HOSTILE: dict[str, Callable[[], bytes]] = {
    "JPEG, progressive, 3,000 scans": progressive_scans,
    "JPEG, 400,000 empty segments": _jpeg_segments,
    "JPEG, 79 Mpx flat": lambda: encoded("JPEG", "RGB", FLAT),
    "JPEG, 79 Mpx progressive": lambda: encoded("JPEG", "RGB", FLAT, progressive=True),
    "JPEG, a restart after each block": _restarts,
    "JPEG, 79 Mpx turned by EXIF, 60 kB of tags": lambda: _exif(6),
    "JPEG of several pictures (MPO), 79 Mpx": _mpo,
    "PNG, 79 Mpx flat, RGB": lambda: encoded("PNG", "RGB", FLAT),
    "PNG, 79 Mpx flat, RGBA": lambda: encoded("PNG", "RGBA", FLAT),
    "PNG, 79 Mpx flat, 16 bits": lambda: encoded("PNG", "I;16", FLAT),
    "PNG, 79 Mpx, palette of 1 bit with transparency": _palette,
    "PNG, 400 Mpx": lambda: encoded("PNG", "1", (20_000, 20_000)),
    "PNG, 25 Mpx interlaced": _interlaced,
    "PNG, 1 x 60,000,000": lambda: png((1, 60_000_000), bytes(2 * 60_000_000), colour=0),
    "PNG, 1,000,000 empty chunks": lambda: _small_png(chunk(b"teXt", b"") * 1_000_000),
    "PNG, iCCP of 200 MB": _icc_bomb,
    "PNG, zTXt of 200 MB": lambda: _text_bomb(b"zTXt"),
    "PNG, iTXt of 200 MB": lambda: _text_bomb(b"iTXt"),
    "PNG, ends early": lambda: encoded("PNG", "RGB", FLAT)[:-5000],
    "APNG, 1,500 frames": lambda: _many_frames("PNG"),
    "GIF, 1,500 frames": lambda: _many_frames("GIF"),
    "GIF, 18 MB of comments": _gif_comments,
    "GIF, 79 Mpx flat": lambda: encoded("GIF", "L", FLAT),
    "WebP, 1,500 frames": lambda: _many_frames("WEBP"),
    "WebP, 79 Mpx flat": lambda: encoded("WEBP", "RGBA", FLAT, lossless=True, method=0),
    "BMP, 9 Mpx in runs of one": _flat_rle_bmp,
    "AVIF, 36 Mpx flat": lambda: encoded("AVIF", "RGB", (6000, 6000), speed=10),
}  # fmt: skip
