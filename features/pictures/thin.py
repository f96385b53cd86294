"""Pictures hundreds of times as long as wide, of which models see the middle.

Resized as a whole such a picture would have no pixel left in a model that sees whole pictures, which is an error, and
many millions of them in one that crops.
"""

from typing import Any

import numpy as np

from evenly.features.pictures.decoded import Opened

_USUAL_SIDE, _MOST_RATIO = 224, 400


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
