"""Files to decoded pictures, by the decoder that goes with how an encoder resizes: here, or in a process of its own.

libjpeg-turbo alone takes little more than half of Pillow's time for a JPEG, and gives the same bits.
"""

from io import BytesIO
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]
from PIL import Image

from evenly.features.errors import UnreadableImageError
from evenly.features.pictures.rgb import DECODER_ERRORS, open_rgb, orientation_of

Resizer = Literal["pillow", "torch"]
Opened = Image.Image | npt.NDArray[np.uint8]
"""A picture in RGB: of Pillow, or pixels (height, width, 3)."""
_START = b"\xff\xd8"


def open_picture(data: bytes, resize: Resizer) -> Opened:
    """The picture of a file in RGB. Raises UnreadableImageError for bytes that do not decode.

    For an encoder that resizes by `torch`, JPEG files are decoded without Pillow, to the same bits in half the time.
    """
    pixels = jpeg_pixels(data) if resize == "torch" else None
    return open_rgb(data) if pixels is None else pixels


def of_pillow(picture: Opened) -> Image.Image:
    """The same picture as Pillow has it."""
    return picture if isinstance(picture, Image.Image) else Image.fromarray(picture)


def decode_in_process(data: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """A decoder process's job: `error`, or its `shape` and `bytes`, of what `open_picture` gives for `resize`."""
    try:
        picture = open_picture(data, options["resize"])
    except UnreadableImageError as error:
        return unreadable(error)
    pixels = np.ascontiguousarray(picture)
    return {"error": "", "shape": pixels.shape, "bytes": pixels.data}


def unreadable(error: UnreadableImageError) -> dict[str, Any]:
    """The reply for a file that does not decode; MemoryError where that was for memory, which is a budget's to say."""
    if isinstance(error.__cause__, MemoryError):
        raise error.__cause__ from None
    return {"error": f"undecodable ({type(error.__cause__).__name__})"}


def jpeg_pixels(data: bytes) -> npt.NDArray[np.uint8] | None:
    """Pixels (height, width, 3) of an upright JPEG in RGB or grey; None for all else, which Pillow opens or refuses.

    Pillow reads the head, so that its limits hold; a file at which libjpeg-turbo as much as warns is left to it.
    """
    if not data.startswith(_START):
        return None
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as head:
            if head.mode not in {"RGB", "L"} or orientation_of(head) != 1:
                return None
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
    except DECODER_ERRORS:
        return None
    return pixels
