"""Fingerprints of pictures: a perceptual hash, and the colours on a coarse grid.

Both are measured inside the frame of the picture: a margin of one colour is cut off first, to a fraction of a pixel,
so that padding, cropping within the margin and resizing change neither. A photograph without a margin is its own frame.
"""

import io
import struct
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from PIL import ExifTags, Image, ImageOps

from evenly.curation.arrays import Singles
from evenly.curation.duplicates.colours import COLOUR_BYTES, GRID

_SEEN_AT = 128  # the frame is found on a copy of this longest side: the same blur for every size
_CONTRAST = 64.0  # levels from the margin's colour; JPEG at quality 50 rings by up to about 40
_STRIP_PIXELS = 1 << 21

Frame = tuple[float, float, float, float]


FINGERPRINT_VERSION = 1  # of what `fingerprint` gives: a higher one makes stored fingerprints stale
_FINGERPRINT = np.dtype([("phash", "<u8"), ("colour", "u1", (COLOUR_BYTES,))])


def measure_fingerprints(images: Sequence[bytes]) -> pa.Table:
    """Return [phash uint64, colour fixed list<uint8>[768]], a row per picture file; null where it cannot be decoded.

    phash: ImageHash's 64-bit DCT hash of the grey picture. colour: 16 x 16 RGB thumbnail, row by row. Both are of the
    frame, upright (EXIF orientation applied), with transparency pasted on white.
    """
    return fingerprint_table([measure_fingerprint(data) for data in images])


def fingerprint_table(fingerprints: Sequence[bytes | None]) -> pa.Table:
    """Return the table of `measure_fingerprints`, of fingerprints as `fingerprint` gives them."""
    missing = pa.array([fingerprint is None for fingerprint in fingerprints], pa.bool_())
    rows = np.frombuffer(
        b"".join(fingerprint or bytes(_FINGERPRINT.itemsize) for fingerprint in fingerprints), dtype=_FINGERPRINT
    )
    flat = pa.array(np.ascontiguousarray(rows["colour"]).reshape(-1))
    colour = pa.FixedSizeListArray.from_arrays(flat, COLOUR_BYTES, mask=missing)
    hashes = pa.array(rows["phash"].copy(), mask=missing.to_numpy(zero_copy_only=False))
    return pa.table({"phash": hashes, "colour": colour})


def measure_fingerprint(data: bytes) -> bytes | None:
    """Return the `fingerprint` of a picture file, decoded in this process; None where it cannot be decoded."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            return fingerprint(opened)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def fingerprint(picture: Image.Image) -> bytes | None:
    """Return 8 bytes of perceptual hash and COLOUR_BYTES of colours of a loaded picture; None where it has none.

    The picture is taken apart for it: what comes back of a large one takes the memory of one copy.
    """
    from imagehash import phash

    try:
        rgb = _on_white(_upright(picture))
    except (OSError, ValueError, SyntaxError, TypeError, LookupError, OverflowError, struct.error):  # broken tags
        return None
    frame = find_frame(rgb)
    small = rgb.resize((GRID, GRID), Image.Resampling.LANCZOS, box=frame)
    grey = rgb.convert("L").resize((32, 32), Image.Resampling.LANCZOS, box=frame)
    return int(str(phash(grey)), 16).to_bytes(8, "little") + np.asarray(small, dtype=np.uint8).tobytes()


def find_frame(picture: Image.Image) -> Frame:
    """Return (left, top, right, bottom) of an RGB picture, in pixels with fractions: all but a margin of one colour.

    The margin's colour is the median of the picture's edge. The frame begins where the second most different pixel
    of a column or row crosses half-way from that colour; a single stray pixel moves nothing. A picture in which
    nothing does is all frame.
    """
    scale = _SEEN_AT / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0), dtype=np.float32)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    contrast = np.abs(pixels - np.median(edge, axis=0)).max(axis=2)
    left, right = _ends(_second_largest(contrast, axis=0))
    top, bottom = _ends(_second_largest(contrast, axis=1))
    across, down = picture.width / size[0], picture.height / size[1]
    return left * across, top * down, right * across, bottom * down


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned by its EXIF orientation; the same, not a copy of it, where it is upright."""
    orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    return ImageOps.exif_transpose(picture) if orientation != 1 else picture


def _on_white(picture: Image.Image) -> Image.Image:
    """The picture in RGB, transparent pixels on white: strip by strip, for the sake of memory."""
    if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
        return picture.convert("RGB") if picture.mode != "RGB" else picture
    rgb = Image.new("RGB", picture.size)
    height = max(1, _STRIP_PIXELS // picture.width)
    for top in range(0, picture.height, height):
        layered = picture.crop((0, top, picture.width, min(top + height, picture.height))).convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        white.alpha_composite(layered)
        rgb.paste(white.convert("RGB"), (0, top))
    return rgb


def _second_largest(contrast: Singles, *, axis: int) -> Singles:
    place = max(0, contrast.shape[axis] - 2)
    return np.asarray(np.partition(contrast, place, axis=axis).take(place, axis=axis), dtype=np.float32)


def _ends(profile: Singles) -> tuple[float, float]:
    """Return where a profile first rises above the contrast and last falls below it, between samples linearly."""
    above = np.flatnonzero(profile > _CONTRAST)
    if not len(above):
        return 0.0, float(len(profile))
    first, last = int(above[0]), int(above[-1])
    start = first + 0.5 - _crossing(profile, first, first - 1) if first else 0.0
    end = last + 0.5 + _crossing(profile, last, last + 1) if last < len(profile) - 1 else float(len(profile))
    return start, end


def _crossing(profile: Singles, inside: int, outside: int) -> float:
    """Return how far from the sample `inside`, towards its neighbour `outside`, the profile crosses, in [0, 1)."""
    return float((profile[inside] - _CONTRAST) / (profile[inside] - profile[outside]))
