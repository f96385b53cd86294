"""Files to decoded pictures, by the decoder that goes with how an encoder resizes: here, or in a process of its own.

libjpeg-turbo alone takes little more than half of Pillow's time for a JPEG, and gives the same bits.

Of pictures hundreds of times as long as wide models see the middle. Resized as a whole such a picture would have no
pixel left in a model that sees whole pictures, which is an error, and many millions of them in one that crops.
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
_USUAL_SIDE, _MOST_RATIO = 224, 400


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


def most_ratio(transform: Any) -> int:  # noqa: ANN401 - of open_clip, torchvision or timm, which have no types
    """The greatest ratio of length to width of a picture that is seen whole: at the smallest side that a step names.

    It leaves more than half a pixel of the shorter side, which is rounded to one.
    """
    sizes = [step.size for step in getattr(transform, "transforms", ()) if hasattr(step, "size")]
    sides = [side for size in sizes for side in (size if isinstance(size, list | tuple) else [size])]
    return max(1, min(_MOST_RATIO, int(1.75 * min(sides, default=_USUAL_SIDE))))


def middle(picture: Opened, ratio: int) -> Opened:
    """The picture; of one longer than `ratio` times its shorter side the middle of that length, or a pixel more."""
    height, width = picture.shape[:2] if isinstance(picture, np.ndarray) else picture.size[::-1]
    most = ratio * min(height, width)
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    if not (top or left):
        return picture
    if isinstance(picture, np.ndarray):
        return picture[top : height - top, left : width - left]
    return picture.crop((left, top, width - left, height - top))
