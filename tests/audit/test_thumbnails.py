import base64
import io
import zlib

import pytest
from PIL import Image

from evenly.audit.report.gallery import read_thumbnails, thumbnail
from tests.hostile_pictures import progressive_scans


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def decoded(uri: str) -> Image.Image:
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_picture_is_shrunk_to_fit_and_keeps_its_shape(kind):
    small = decoded(thumbnail(encoded(Image.new("RGB", (800, 400), "red"), kind), side=100))
    assert small.size == (100, 50)


def test_transparency_stays():
    image = Image.new("RGBA", (50, 50), (255, 0, 0, 0))
    assert decoded(thumbnail(encoded(image))).convert("RGBA").getpixel((5, 5))[3] == 0


def test_no_byte_of_the_original_is_handed_on():
    secret = b"GPS: 52.5N 13.4E"
    stream = io.BytesIO()
    Image.new("RGB", (20, 20)).save(stream, "JPEG", comment=secret)
    uri = thumbnail(stream.getvalue())
    assert secret not in base64.b64decode(uri.partition(",")[2])


def test_more_pixels_than_the_cap_are_not_decoded():
    bomb = encoded(Image.new("1", (9000, 9000)))
    assert thumbnail(bomb) is None
    assert thumbnail(encoded(Image.new("RGB", (30, 30))), max_pixels=899) is None
    assert thumbnail(encoded(Image.new("RGB", (30, 30))), max_pixels=900) is not None


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
TIFF = encoded(Image.new("RGB", (4, 4)), "TIFF")
PNG = encoded(Image.effect_noise((64, 64), 50).convert("RGB"))


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>no</html>", EPS, TIFF, PNG[:200], PNG[:8] + zlib.compress(PNG), PNG.replace(b"IDAT", b"IDOT", 1)],
    ids=["empty", "html", "eps", "tiff", "cut", "rubbish", "damaged chunk"],
)
def test_what_is_no_whole_picture_of_a_web_format_gives_none(data):
    assert thumbnail(data) is None


def test_unreadable_pictures_are_left_out_and_the_others_kept():
    pictures = {"a": PNG, "b": b"broken"}
    assert read_thumbnails(lambda ids: [pictures[name] for name in ids], ["b", "a", "a", "missing"]).keys() == {"a"}


def test_a_picture_of_thousands_of_scans_that_an_earlier_version_kept_has_no_thumbnail():
    assert thumbnail(progressive_scans(side=64)) is None
