"""What counts as a picture: bytes that a decoder reads to their end, within a limit on pixels."""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from storage.web.errors import FetchError

EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "bmp": "bmp", "avif": "avif"}

# Decoders raise nearly anything on hostile bytes: these cover what Pillow's readers of our formats are known to raise.
_DECODER_ERRORS: tuple[type[Exception], ...] = (
    OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, SyntaxError, RuntimeError, EOFError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class PictureFacts:
    """Size in pixels as stored (orientation tags not applied), and the true format: a key of EXTENSIONS."""

    width: int
    height: int
    format: str


def check_picture(data: bytes, *, max_pixels: int) -> PictureFacts:
    """Decode `data` and return its facts; of several frames, the first is decoded.

    Raises FetchError: `empty_body`; `not_an_image` where the bytes begin like none of the formats; `too_many_pixels`
    by the header, before anything is decoded; `truncated_image` where decoding does not reach the end.
    """
    if not data:
        raise FetchError("empty_body", "0 bytes")
    kind = sniff_format(data)
    if kind is None:
        raise FetchError("not_an_image", f"begins with {data[:40]!r}")
    try:
        return _decode(data, kind, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FetchError("too_many_pixels", str(error)) from None
    except FetchError:
        raise
    except _DECODER_ERRORS as error:
        raise FetchError("truncated_image", f"{kind}: {type(error).__name__}: {error}") from None


def sniff_format(data: bytes) -> str | None:
    """The format that the first bytes announce, or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in (b"avif", b"avis")):
        return "avif"
    return "bmp" if data.startswith(b"BM") else None


def _decode(data: bytes, kind: str, max_pixels: int) -> PictureFacts:
    with Image.open(BytesIO(data), formats=(kind,)) as picture:
        width, height = picture.size
        if width * height > max_pixels:
            raise FetchError("too_many_pixels", f"{width} x {height}, more than {max_pixels} pixels")
        if kind == "png":
            picture.verify()  # checksums of all chunks; the picture must be opened again afterwards
    with Image.open(BytesIO(data), formats=(kind,)) as picture:
        if kind == "jpeg":
            picture.draft("L", (1, 1))  # all data is read, but an eighth of the size is drawn
        picture.load()
    return PictureFacts(width, height, kind)
