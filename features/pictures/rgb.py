"""Original file bytes to the RGB picture that a person would see."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image

from evenly.features.errors import UnreadableImageError

# Formats whose decoders run in this process alone: no PostScript, no plug-in that starts a program. JPEG opens MPO too.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "PPM")

# Decoders raise nearly anything on broken bytes.
DECODER_ERRORS: tuple[type[Exception], ...] = (
    OSError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, SyntaxError, RuntimeError, EOFError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = range(5, 9)
"""Orientations in which a picture lies on its side in its file."""
_QUALITY = 90


def open_rgb(data: bytes) -> Image.Image:
    """The picture in RGB: its first frame, upright by its orientation tag, alpha pasted on white, 16 bits cut to 8."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as stored:
            stored.load()
            orientation = orientation_of(stored)
            picture = _to_rgb(stored)
    except DECODER_ERRORS as error:
        raise UnreadableImageError(
            f"`images` must be files that decode; got {len(data)} bytes that do not ({type(error).__name__}: {error}). "
            "Check pictures before they are encoded."
        ) from error
    return picture.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else picture


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; a broken tag block counts as upright, as browsers have it."""
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODER_ERRORS:
        return 1


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        # Greys of 16 bits; Pillow's own conversion clips them to white instead of scaling.
        return Image.fromarray((np.asarray(picture).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in picture.info:
        coloured = picture.convert("RGBA")
        white = Image.new("RGB", coloured.size, (255, 255, 255))
        white.paste(coloured, mask=coloured)  # the values of alpha_composite, in less than half the time
        return white
    return picture.convert("RGB")


def scaled_jpeg(data: bytes, *, max_side: int) -> bytes:
    """The picture in RGB as a JPEG of quality 90, its longer side at most `max_side` pixels; never enlarged.

    Raises UnreadableImageError for bytes that do not decode.
    """
    picture = open_rgb(data)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
