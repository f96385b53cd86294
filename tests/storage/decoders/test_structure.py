import pytest

from evenly.storage.decoders.structure import MAX_CHUNKS, MAX_SCANS, excess
from tests.hostile_pictures import HOSTILE, chunk, encoded, png


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("JPEG, progressive, 3,000 scans", "jpeg", "scans"),
        ("JPEG, 400,000 empty segments", "jpeg", "segments"),
        ("PNG, 1,000,000 empty chunks", "png", "chunks"),
        ("BMP, 9 Mpx in runs of one", "bmp", "runs"),
    ],
)
def test_what_only_hostile_files_have_is_named(name, kind, words):
    assert words in (excess(HOSTILE[name](), kind) or "")


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"comment": b"\xff\xda" * 200}]
)
def test_an_ordinary_jpeg_has_nothing_too_many_whatever_its_segments_hold(options):
    assert excess(encoded("JPEG", "RGB", (900, 900), **options), "jpeg") is None


def test_scans_are_counted_to_the_limit_itself():
    data = encoded("JPEG", "L", (8, 8))
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]
    assert excess(data[:start] + scan * MAX_SCANS + b"\xff\xd9", "jpeg") is None
    assert excess(data[:start] + scan * (MAX_SCANS + 1) + b"\xff\xd9", "jpeg") == f"more than {MAX_SCANS} scans"


def test_chunks_are_counted_to_the_limit_itself():
    text = chunk(b"teXt", b"")
    assert excess(png((8, 8), bytes(200), text * (MAX_CHUNKS - 3)), "png") is None
    assert excess(png((8, 8), bytes(200), text * (MAX_CHUNKS - 2)), "png") == f"more than {MAX_CHUNKS} chunks"


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "gif", "webp", "avif"])
@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xff\xda" * 300, b"\xff\xda\xff" * 300, b"\x89PNG\r\n\x1a\n\xff\xff\xff"]
)
def test_whatever_the_bytes_it_answers(kind, data):
    assert excess(data, kind) is None or "more than" in str(excess(data, kind))
