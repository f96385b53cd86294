import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evenly.features.errors import UnreadableImageError
from evenly.features.pictures.decoded import jpeg_pixels
from evenly.features.pictures.rgb import open_rgb


def jpeg(mode: str = "RGB", **settings: object) -> bytes:
    ramp = np.add.outer(np.arange(41) * 5, np.arange(50) * 3)
    picture = Image.fromarray(np.stack([ramp, ramp * 7, ramp * 11], axis=2).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    picture.save(file, "JPEG", **settings)
    return file.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(exif=exif)


DECODED = {
    "plain": jpeg(),
    "fine colours": jpeg(quality=95, subsampling=0),
    "half colours": jpeg(subsampling=1),
    "progressive": jpeg(progressive=True),
    "restarts": jpeg(restart_marker_blocks=2),
    "grey": jpeg("L"),
    "upright by its tag": turned(1),
}
LEFT_TO_PILLOW = {"turned": turned(6), "four colours": jpeg("CMYK"), "cut off": jpeg()[:-300], "empty": b""}


@pytest.mark.parametrize("data", DECODED.values(), ids=list(DECODED))
def test_pixels_are_those_of_pillow_to_the_bit(data):
    np.testing.assert_array_equal(jpeg_pixels(data), np.asarray(open_rgb(data)))


@pytest.mark.parametrize("data", LEFT_TO_PILLOW.values(), ids=list(LEFT_TO_PILLOW))
def test_what_is_no_upright_picture_in_rgb_is_left_to_pillow(data):
    assert jpeg_pixels(data) is None


@given(
    kind=st.sampled_from(sorted(DECODED)),
    flips=st.lists(st.tuples(st.integers(2, 3_000), st.integers(0, 7)), max_size=4),
    kept=st.integers(0, 3_000),
)
def test_broken_files_give_what_pillow_gives_or_nothing(kind, flips, kept):
    data = bytearray(DECODED[kind])
    for place, bit in flips:
        data[place % len(data)] ^= 1 << bit
    if kept % 3 == 0:
        del data[kept:]
    pixels = jpeg_pixels(bytes(data))
    if pixels is not None:
        np.testing.assert_array_equal(pixels, np.asarray(open_rgb(bytes(data))))


def test_a_picture_of_too_many_pixels_is_refused_by_pillows_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    assert jpeg_pixels(DECODED["plain"]) is None
    with pytest.raises(UnreadableImageError, match="DecompressionBombError"):
        open_rgb(DECODED["plain"])
