"""Pictures at hand are held to the limits of downloads, whatever takes them: search, encode, predict, probe."""

import re

import pytest
from PIL import Image

import evenly
from evenly.curation.reservations.rule import DownloadRule
from evenly.features.errors import UnreadableImageError
from evenly.flows.runs import workspace_run
from evenly.storage.decoders.structure import MAX_BYTES, MAX_PIXELS
from evenly.storage.errors import InputError
from evenly.storage.files.image_folders import read_pictures
from evenly.tasks.decoding import PictureReader
from evenly.tasks.search.pairs import Query, encode_query
from tests.hostile_pictures import encoded, png, progressive_scans

BOMBS = {
    "scans": progressive_scans(scans=200, side=64),
    "pixels": png((10_000, 9_000), bytes(64)),
    "more pixels than Pillow opens": png((20_000, 20_000), bytes(64)),
    "bytes": encoded("PNG", "RGB", (8, 8)) + bytes(MAX_BYTES),
}
REASONS = {
    "scans": r"too_slow \(more than 100 scans\)",
    "pixels": r"too_many_pixels \(10000 x 9000, more than 80000000 pixels\)",
    "more pixels than Pillow opens": r"too_many_pixels \(20000 x 20000, more than 80000000 pixels\)",
    "bytes": r"too_many_bytes \(",
}
each_bomb = pytest.mark.parametrize("bomb", BOMBS)


def test_the_limits_are_those_of_downloads():
    assert (DownloadRule().max_bytes, DownloadRule().max_pixels) == (MAX_BYTES, MAX_PIXELS)


@pytest.mark.parametrize("resize", ["pillow", "torch", None])
def test_a_reader_refuses_what_a_download_refuses_before_it_is_decoded(tmp_path, resize):
    good = encoded("JPEG", "RGB", (40, 30))
    with PictureReader(workspace_run(tmp_path, quiet=True), resize) as reader:
        *refused, kept = reader.read([*BOMBS.values(), good])
    assert [
        one.error for one, reason in zip(refused, REASONS.values(), strict=True) if not re.match(reason, one.error)
    ] == []
    assert kept.error == ""


@each_bomb
def test_encode_refuses_it_and_says_why(bomb):
    with pytest.raises(UnreadableImageError, match=rf"got {REASONS[bomb]}.* of number 2"):
        evenly.encode([encoded("PNG", "RGB", (8, 8)), BOMBS[bomb]])


@each_bomb
def test_a_query_refuses_it_and_says_why(bomb, tmp_path, monkeypatch):
    monkeypatch.setattr("evenly.tasks.search.pairs.check_encoder", lambda *_: None)
    monkeypatch.setattr("evenly.tasks.search.pairs.encoder_of", lambda _: "any")
    with pytest.raises(UnreadableImageError, match=f"`image` must be pictures .* got {REASONS[bomb]}"):
        encode_query(workspace_run(tmp_path, quiet=True), {}, Query(images=[BOMBS[bomb]]))


def test_a_file_is_not_read_beyond_the_limit(tmp_path):
    with (tmp_path / "a.png").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(InputError, match="at most 20,000,000 bytes"):
        evenly.encode(tmp_path / "a.png")
    assert [picture.error for picture in read_pictures(tmp_path)] == ["too_large"]


def test_a_picture_of_pillow_is_not_loaded_beyond_the_limit():
    with pytest.raises(InputError, match="at most 80,000,000 pixels; got 10000 x 9000"):
        evenly.encode(Image.new("1", (10_000, 9_000)))
