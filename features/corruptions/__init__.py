"""Corrupted pictures at five strengths, to see how accuracy falls: noise, blur, weather and light, digital.

Names and most strengths are those of ImageNet-C (Hendrycks and Dietterich 2019, arXiv:1903.12261), which are meant for
pictures of 224 pixels. The code is own, on Pillow, numpy and scipy: albumentations is no dependency of ours (it comes
along with another package), and is no longer maintained.

What is drawn is a pure function of (seed, corruption, key) and the same at every strength: a stronger picture is the
same accident, only worse.
"""

import hashlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from evenly.features.corruptions.kinds import (
    brightness,
    contrast,
    defocus_blur,
    fog,
    gaussian_blur,
    gaussian_noise,
    impulse_noise,
    jpeg,
    motion_blur,
    pixelate,
    posterize,
    shot_noise,
)
from evenly.features.corruptions.pixels import Pixels
from evenly.features.errors import CorruptionError
from evenly.features.pictures.rgb import open_rgb

CORRUPTIONS: dict[str, Callable[[Pixels, int, np.random.Generator], Pixels]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "gaussian_blur": gaussian_blur,
    "defocus_blur": defocus_blur,
    "motion_blur": motion_blur,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "jpeg": jpeg,
    "pixelate": pixelate,
    "posterize": posterize,
}

FAMILIES: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("gaussian_blur", "defocus_blur", "motion_blur"),
    "weather": ("fog", "brightness", "contrast"),
    "digital": ("jpeg", "pixelate", "posterize"),
}

STRENGTHS = (1, 2, 3, 4, 5)
SIDE = 224
_LONGEST = 8  # times the smaller side: a strip is not blown up to gigabytes


def corrupt(rgb: Pixels, name: str, *, strength: int, seed: int, key: str) -> Pixels:
    """The picture (h, w, 3), uint8, under corruption `name` at `strength` 1 to 5; 0 gives the picture as it is.

    `key` stands for the picture, such as its id: another key draws other noise. Strengths are in pixels of this very
    array: bring pictures to one size first, as `corrupted_bytes` does.
    """
    if name not in CORRUPTIONS:
        raise CorruptionError(f"`name` must be one of {', '.join(CORRUPTIONS)}; got `{name}`. Choose one of these.")
    if strength not in (0, *STRENGTHS):
        raise CorruptionError(f"`strength` must be 0 (as it is) or 1 to 5; got {strength}. Choose one of these.")
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
        raise CorruptionError(
            f"`rgb` must be a uint8 array (h, w, 3) with pixels; got {getattr(rgb, 'dtype', type(rgb).__name__)} "
            f"{np.shape(rgb)}. Decode the picture with `open_rgb`."
        )
    if strength == 0:
        return rgb.copy()
    return CORRUPTIONS[name](rgb, strength, _generator(seed, name, key))


def corrupted_bytes(data: bytes, name: str, *, strength: int, seed: int, key: str, side: int = SIDE) -> bytes:
    """A PNG file of the picture in the file `data`, its smaller side brought to `side` pixels, then corrupted.

    Resized first, so that a strength means the same for every picture, as an encoder of that input size sees it.
    Strength 0 is the picture resized alone: where curves start. Bytes that do not decode raise UnreadableImageError.
    """
    file = BytesIO()
    Image.fromarray(corrupt(resized(data, side=side), name, strength=strength, seed=seed, key=key)).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


def resized(data: bytes, *, side: int = SIDE) -> Pixels:
    """The picture in the file `data` (h, w, 3), its smaller side `side` pixels long: fewer in strips of over 8 to 1."""
    if side < 1:
        raise CorruptionError(f"`side` must be at least 1 pixel; got {side}. Give the input size of the encoder.")
    picture = open_rgb(data)
    shorter, longer = sorted(picture.size)
    scale = min(side / shorter, _LONGEST * side / longer)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return np.array(picture.resize(size, Image.Resampling.BICUBIC), dtype=np.uint8)


def _generator(seed: int, name: str, key: str) -> np.random.Generator:
    """A generator keyed by the hash of the length-prefixed fields."""
    digest = hashlib.blake2b(digest_size=16)
    for field in (str(seed), "corrupt", name, key):
        data = field.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest.digest(), "big")))
