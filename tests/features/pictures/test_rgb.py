import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evenly.features.errors import UnreadableImageError
from evenly.features.pictures.rgb import open_rgb


def file_of(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def corner(data):
    return open_rgb(data).getpixel((0, 0))


def test_an_opaque_picture_keeps_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(open_rgb(file_of(Image.fromarray(pixels)))), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "MPO"])
def test_a_picture_of_each_kind_opens(kind):
    assert open_rgb(file_of(Image.new("RGB", (9, 7), (255, 255, 255)), kind)).size == (9, 7)


def test_bytes_of_no_kind_are_said_to_be_none():
    with pytest.raises(UnreadableImageError, match="cannot identify image file"):
        open_rgb(b"no picture")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_pasted_on_white(mode):
    clear = (0,) * (len(mode) - 1) + (0,)
    half = (0,) * (len(mode) - 1) + (128,)
    assert corner(file_of(Image.new(mode, (4, 4), clear))) == (255, 255, 255)
    assert corner(file_of(Image.new(mode, (4, 4), half))) == (127, 127, 127)


def test_every_value_at_every_alpha_is_composed_to_the_bit():
    value, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    coloured = Image.fromarray(np.stack([value, value[:, ::-1], value, alpha], axis=2))
    white = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
    stream = io.BytesIO()
    coloured.save(stream, "PNG")
    composed = Image.alpha_composite(white, coloured).convert("RGB")
    np.testing.assert_array_equal(np.asarray(open_rgb(stream.getvalue())), np.asarray(composed))


def test_a_transparent_palette_colour_is_white():
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([200, 10, 10, 0, 0, 0])
    assert corner(file_of(palette, transparency=0)) == (255, 255, 255)
    assert corner(file_of(palette)) == (200, 10, 10)


def test_sixteen_bits_are_scaled_to_eight():
    grey = Image.fromarray(np.full((4, 4), 0x7FFF, np.uint16))
    assert corner(file_of(grey)) == (127, 127, 127)


@pytest.mark.parametrize(("mode", "value"), [("L", 77), ("1", 1), ("CMYK", (0, 0, 0, 0))])
def test_other_modes_become_rgb(mode, value):
    picture = open_rgb(file_of(Image.new(mode, (4, 4), value), "TIFF"))
    assert picture.mode == "RGB"


def test_a_photograph_is_turned_upright_by_its_tag():
    exif = Image.Exif()
    exif[274] = 6  # the camera was held on its side: shown turned by 90 degrees clockwise
    picture = Image.new("RGB", (8, 4), "red")
    picture.paste("blue", (0, 0, 4, 4))
    upright = open_rgb(file_of(picture, exif=exif))
    assert upright.size == (4, 8)
    assert upright.getpixel((1, 1)) == (0, 0, 255)
    assert upright.getpixel((1, 6)) == (255, 0, 0)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_tag_block_counts_as_upright():
    data = file_of(Image.new("RGB", (8, 4), "red"))
    chunk = b"eXIfII*\x00\xff\xff\xff\xff"
    broken = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert open_rgb(data[:33] + broken + data[33:]).size == (8, 4)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert corner(file_of(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", file_of(Image.new("RGB", (64, 64)))[:60], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
    ids=["empty", "html", "cut short", "postscript"],
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(UnreadableImageError, match="`images` must be files that decode"):
        open_rgb(data)


FILES = [
    file_of(Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8)), kind)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(FILES), st.data())
@pytest.mark.filterwarnings("ignore")  # Pillow warns of odd metadata
def test_broken_bytes_give_a_picture_or_the_error(data, draw):
    broken = bytearray(data)
    for _ in range(draw.draw(st.integers(1, 4))):
        broken[draw.draw(st.integers(0, len(broken) - 1))] = draw.draw(st.integers(0, 255))
    try:
        picture = open_rgb(bytes(broken))
    except UnreadableImageError:
        return
    assert picture.mode == "RGB"
