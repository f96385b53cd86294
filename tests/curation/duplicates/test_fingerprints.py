import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageDraw

from evenly.curation.duplicates.colours import COLOUR_BYTES
from evenly.curation.duplicates.fingerprints import find_frame, measure_fingerprints


def drawing(size=200, face="gold", margin=30):
    picture = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    far = size - margin
    pen.ellipse((margin, margin, far, far), fill=face, outline="black", width=6)
    pen.rectangle((size * 0.35, size * 0.4, size * 0.42, size * 0.5), fill="black")
    pen.line((size * 0.35, size * 0.7, size * 0.65, size * 0.62), fill="black", width=5)
    return picture


def photograph(size=(120, 90)):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def on_white(picture):
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")


def encoded(picture, kind="PNG", **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def fingerprint(data):
    table = measure_fingerprints([data])
    return table["phash"][0].as_py(), np.array(table["colour"][0].as_py(), dtype=np.int16)


def distances(first, second):
    (hash_a, colour_a), (hash_b, colour_b) = fingerprint(first), fingerprint(second)
    return (hash_a ^ hash_b).bit_count(), int(np.abs(colour_a - colour_b).max())


VARIANTS = {
    "smaller": lambda: encoded(drawing().resize((110, 110), Image.Resampling.BICUBIC)),
    "larger": lambda: encoded(drawing().resize((290, 290), Image.Resampling.BICUBIC)),
    "jpeg": lambda: encoded(on_white(drawing()), "JPEG", quality=75),
    "cropped": lambda: encoded(drawing().crop((7, 7, 193, 193))),
    "padded": lambda: encoded(drawing().crop((-9, -9, 209, 209))),
    "on white": lambda: encoded(on_white(drawing())),
    "palette": lambda: encoded(on_white(drawing()).quantize(64)),
}


@pytest.mark.parametrize("kind", VARIANTS)
def test_variants_of_a_drawing_are_near(kind):
    bits, colour = distances(encoded(drawing()), VARIANTS[kind]())
    assert bits <= 12
    assert colour <= 20


def test_another_colour_is_far_in_colour_though_near_in_grey():
    bits, colour = distances(encoded(drawing(face="#debb90")), encoded(drawing(face="#c19a65")))
    assert bits <= 12
    assert colour > 20


def test_hash_of_a_picture_without_margin_is_imagehashs():
    picture = photograph((32, 32))
    assert fingerprint(encoded(picture))[0] == int(str(imagehash.phash(picture)), 16)


def test_colour_is_a_grid_of_rgb_row_by_row():
    halves = Image.new("RGB", (64, 64), "red")
    halves.paste("blue", (0, 32, 64, 64))
    grid = fingerprint(encoded(halves))[1].reshape(16, 16, 3)
    assert grid[0, 0].tolist() == [255, 0, 0]
    assert grid[15, 0].tolist() == [0, 0, 255]


def test_frame_is_found_to_a_fraction_of_a_pixel():
    picture = Image.new("RGB", (128, 128), "white")
    picture.paste("black", (20, 30, 100, 110))
    assert find_frame(picture) == pytest.approx((20, 30, 100, 110), abs=0.6)
    half = picture.resize((64, 64), Image.Resampling.BOX)
    assert [2 * side for side in find_frame(half)] == pytest.approx((20, 30, 100, 110), abs=1.2)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (300, 2), (128, 128)])
def test_a_picture_of_one_colour_is_all_frame(size):
    assert find_frame(Image.new("RGB", size, "teal")) == (0, 0, *size)
    assert measure_fingerprints([encoded(Image.new("RGB", size, "teal"))])["phash"].null_count == 0


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = encoded(photograph().transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert distances(encoded(photograph()), turned) == (0, 0)


@pytest.mark.parametrize("data", [b"", b"<html>", encoded(drawing())[:200], encoded(on_white(drawing()), "JPEG")[:300]])
def test_what_cannot_be_decoded_has_no_fingerprint(data):
    table = measure_fingerprints([data, encoded(drawing())])
    assert table["phash"].is_valid().to_pylist() == [False, True]
    assert table["colour"].is_valid().to_pylist() == [False, True]


def test_no_pictures_give_no_rows():
    table = measure_fingerprints([])
    assert table.num_rows == 0
    assert table.schema.field("colour").type.list_size == COLOUR_BYTES
