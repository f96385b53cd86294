"""Pictures scaled for models that are sent them."""

from io import BytesIO

from PIL import Image

from evenly.features.pictures.rgb import open_rgb

_QUALITY = 90


def scaled_jpeg(data: bytes, *, max_side: int) -> bytes:
    """The picture in RGB as a JPEG of quality 90, its longer side at most `max_side` pixels; never enlarged.

    Raises UnreadableImageError for bytes that do not decode.
    """
    picture = open_rgb(data)
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
