import contextlib
import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evenly.storage.web.decoding import EXTENSIONS, check_picture
from evenly.storage.web.errors import FetchError

LIMIT = 10_000_000
SIZE = (61, 37)


def encode(kind: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.linear_gradient("L").resize(SIZE).convert(mode)
    image.save(stream, kind, **options)
    return stream.getvalue()


def why(data: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(FetchError) as caught:
        check_picture(data, max_pixels=limit)
    return caught.value.outcome


def png_header(width: int, height: int) -> bytes:
    """A PNG of the given size whose few bytes of picture data would fill it when decoded: a bomb in miniature."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    rows = zlib.compress(bytes(min(4 * width + 1, 1 << 20)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


WHOLE = {
    "jpeg": encode("JPEG"),
    "png": encode("PNG", "RGBA"),
    "webp": encode("WEBP"),
    "gif": encode("GIF"),
    "bmp": encode("BMP"),
    "avif": encode("AVIF"),
}


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_a_whole_picture_has_its_size_and_true_format(kind):
    facts = check_picture(WHOLE[kind], max_pixels=LIMIT).facts
    assert (facts.width, facts.height, facts.format) == (*SIZE, kind)


@pytest.mark.parametrize(
    "data",
    [
        encode("JPEG", "L"),
        encode("JPEG", "CMYK"),
        encode("JPEG", progressive=True),
        encode("PNG", "P"),
        encode("PNG", "I;16"),
        encode("PNG", "1"),
        encode("WEBP", "RGBA", lossless=True),
        encode("GIF", save_all=True, append_images=[Image.new("L", SIZE)]),
    ],
)
def test_other_modes_and_several_frames_are_fine(data):
    assert check_picture(data, max_pixels=LIMIT).facts.width == SIZE[0]


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_a_picture_that_ends_early_is_truncated_wherever_it_ends(kind):
    data = WHOLE[kind]
    for end in range(30, len(data) - 16, max(1, len(data) // 40)):
        assert why(data[:end]) == "truncated_image", end


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html><html><body>404</body></html>", b"GIF", b"\xff\xd8", b"RIFF1234WAVE", b"hello", b"\x00" * 64,
        b'<svg xmlns="http://www.w3.org/2000/svg"/>', b"II*\x00" + b"\x00" * 60, b"%PDF-1.4", b"\x1f\x8b\x08",
    ],
)  # fmt: skip
def test_what_begins_like_no_picture_is_none(data):
    assert why(data) == "not_an_image"


def test_nothing_is_an_empty_body():
    assert why(b"") == "empty_body"


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (100_000, 100_000), (2_147_483_647, 1)])
def test_a_bomb_is_refused_by_its_header(width, height):
    assert why(png_header(width, height)) == "too_many_pixels"


@pytest.mark.parametrize("kind", EXTENSIONS)
def test_the_limit_on_pixels_is_inclusive(kind):
    assert check_picture(WHOLE[kind], max_pixels=SIZE[0] * SIZE[1]).facts.width == SIZE[0]
    assert why(WHOLE[kind], SIZE[0] * SIZE[1] - 1) == "too_many_pixels"


def test_a_png_with_a_wrong_checksum_is_truncated():
    data = bytearray(WHOLE["png"])
    data[-20] ^= 1
    assert why(bytes(data)) == "truncated_image"


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(sorted(WHOLE)),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12),
)
def test_whatever_the_bytes_the_answer_is_facts_or_a_reason(kind, edits):
    data = bytearray(WHOLE[kind])
    for position, value in edits:
        data[position % len(data)] = value
    with contextlib.suppress(FetchError):
        facts = check_picture(bytes(data), max_pixels=LIMIT).facts
        assert facts.width * facts.height <= LIMIT


def test_what_is_no_picture_is_shown_by_its_first_bytes():
    with pytest.raises(FetchError) as caught:
        check_picture(b"hello\x00\xff`", max_pixels=LIMIT)
    assert caught.value.evidence == r"begins with b'hello\x00\xff`'"
