import io

import pytest
from PIL import Image

from evenly.demo.pictures.openmoji import draw_picture
from evenly.demo.pictures.variants import BANNER_PX, BOMB_SIDE_PX, LOOKS, bomb, encode_variant


@pytest.mark.parametrize(
    ("kind", "encoding", "size"),
    [
        ("jpeg", "JPEG", (160, 160)),
        ("small_jpeg", "JPEG", (96, 96)),
        ("large_jpeg", "JPEG", (224, 224)),
        ("webp", "WEBP", (160, 160)),
        ("small_webp", "WEBP", (104, 104)),
        ("small_png", "PNG", (120, 120)),
        ("icon", "PNG", (16, 16)),
        ("banner", "PNG", BANNER_PX),
    ],
)
def test_variant(kind, encoding, size):
    picture = draw_picture("1F34C", size_px=160)
    made = encode_variant(picture, kind)
    with Image.open(io.BytesIO(made)) as image:
        image.load()
        assert (image.format, image.size) == (encoding, size)
    assert made == encode_variant(picture, kind)
    assert made != picture


def test_every_kind_is_tested():
    assert len(LOOKS) == 8


def test_the_bomb_is_a_valid_png():
    with Image.open(io.BytesIO(bomb(100))) as image:
        image.load()
        assert image.size == (100, 100)
        assert image.convert("L").getextrema() == (255, 255)


def test_the_bomb_is_small_in_bytes_only():
    content = bomb(BOMB_SIDE_PX)
    assert len(content) < 100_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(content))
