"""JPEG files to pixels by libjpeg-turbo alone, in little more than half of Pillow's time and with the same bits."""

from io import BytesIO

import numpy as np
import numpy.typing as npt
import simplejpeg  # type: ignore[import-untyped]
from PIL import Image

from evenly.features.pictures.rgb import DECODER_ERRORS, orientation_of

_START = b"\xff\xd8"


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
