"""Small pictures for a page: decoded under guard, shrunk, encoded anew, so that no original byte reaches a reader."""

import base64
import io
import struct
import warnings
from collections.abc import Iterable
from zlib import error as zlib_error

from PIL import Image

from evenly.audit.image_bytes import ReadBytes, each_image
from evenly.storage.decoders.structure import excess
from evenly.storage.web.decoding import sniff_format

SIDE = 192
MAX_PIXELS = 40_000_000
# Raster formats that Pillow decodes by itself; others (EPS for one) would start other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
_UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError, struct.error, zlib_error)


def read_thumbnails(read_bytes: ReadBytes, image_ids: Iterable[str]) -> dict[str, str]:
    """Return a WebP data URI for each picture that can be read and decoded; the others are left out."""
    thumbnails = {}
    for image_id, data in each_image(read_bytes, sorted(set(image_ids))):
        uri = None if isinstance(data, str) else thumbnail(data)
        if uri is not None:
            thumbnails[image_id] = uri
    return thumbnails


def thumbnail(data: bytes, *, side: int = SIDE, max_pixels: int = MAX_PIXELS) -> str | None:
    """Return a WebP data URI of at most `side` pixels each way; None for what is no picture or has too many pixels."""
    small = small_picture(data, side=side, max_pixels=max_pixels)
    if small is None:
        return None
    stream = io.BytesIO()
    small.save(stream, "WEBP", quality=78, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def small_picture(data: bytes, *, side: int = SIDE, max_pixels: int = MAX_PIXELS) -> Image.Image | None:
    """Return the picture of a file's bytes, at most `side` pixels each way; None as `thumbnail` gives it."""
    kind = sniff_format(data)
    if kind is not None and excess(data, kind) is not None:
        return None  # taken in by an earlier version: downloads refuse it now
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and large pictures; both are judged here
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > max_pixels:
                    return None
                image.draft("RGB", (side * 2, side * 2))
                has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
                small = image.convert("RGBA" if has_alpha else "RGB")
                small.thumbnail((side, side))
        except (*_UNDECODABLE, Image.DecompressionBombError):
            return None
    return small
