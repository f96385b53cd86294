import io

import pytest
from PIL import Image, ImageChops

from evenly.audit.report.sheet import html_sheet, png_sheet

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m"


def picture(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (300, 150), colour).save(stream, "PNG")
    return stream.getvalue()


PICTURES = {"a": picture("red"), "b": b"<svg onload=alert(1)>"}
ROWS = [
    {"rank": 1, "uid": "0" * 32, "score": 0.5, "image_id": "a", "caption": HOSTILE, "reason": "", "step": ""},
    {"rank": 2, "uid": "1" * 32, "score": 0.25, "image_id": "b", "caption": None, "reason": "near", "step": "filter"},
    {"rank": 3, "uid": "2" * 32, "score": -1.0, "image_id": "gone", "caption": "x " * 300, "reason": "", "step": ""},
]


def read_bytes(image_ids):
    return [PICTURES[image_id] for image_id in image_ids]


def test_a_page_loads_nothing_and_escapes_captions_and_titles():
    page = html_sheet(ROWS, title=HOSTILE, notes=[HOSTILE], read_bytes=read_bytes)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e\\x1b[31m" in page
    assert page.count("data:image/webp") == 1
    assert page.count("picture not held, or not decodable") == 2
    assert "evenly why " + "1" * 32 in page
    assert "0.2500" in page
    assert not [place for place in ("http://", "https://", "src=/", "\u202e", "\x1b") if place in page]


def test_a_picture_shows_thumbnails_and_leaves_a_square_for_those_that_are_gone():
    sheet = Image.open(io.BytesIO(png_sheet(ROWS, title=HOSTILE, notes=["3 pairs"], read_bytes=read_bytes)))
    assert (sheet.format, sheet.mode) == ("PNG", "RGB")
    assert sheet.getpixel((24 + 96, 66 + 96)) == (255, 0, 0)
    assert sheet.getpixel((24 + 204 + 96, 66 + 96)) == (227, 224, 216)
    assert not sheet.text
    again = Image.open(io.BytesIO(png_sheet(ROWS, title=HOSTILE, notes=["3 pairs"], read_bytes=read_bytes)))
    assert ImageChops.difference(sheet, again).getbbox() is None


@pytest.mark.parametrize("count", [0, 1, 5, 6])
def test_a_sheet_has_five_pictures_in_a_line(count):
    rows = [ROWS[0] | {"rank": rank} for rank in range(count)]
    sheet = Image.open(io.BytesIO(png_sheet(rows, title="x", notes=[], read_bytes=read_bytes)))
    assert sheet.height == 66 + -(-count // 5) * 264 + 24
