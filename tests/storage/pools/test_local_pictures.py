import hashlib
import zlib

import pyarrow as pa
import pytest
from PIL import Image

from evenly.curation.reservations.rule import DownloadRule
from evenly.storage.errors import StorageError
from evenly.storage.pools.local_rows import Place
from evenly.storage.web.errors import DownloadError
from evenly.storage.web.images import read_images
from evenly.storage.web.shards import read_downloads
from tests.curation.reservations.marked import mining, with_store, with_xmp
from tests.storage.held_pool import picture, write_files
from tests.storage.pools.taken import take_pictures

SIZE = b"IHDR\0\1\0\0\0\1\0\0\x08\2\0\0\0"  # 65,536 x 65,536 pixels
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\r" + SIZE + zlib.crc32(SIZE).to_bytes(4, "big") + b"\0\0\0\1IDAT"


@pytest.fixture
def held(tmp_path):
    def make(*contents):
        folder = write_files(tmp_path / "pool", {f"{number}": content for number, content in enumerate(contents)})
        ids = [hashlib.sha256(content).hexdigest() for content in contents]
        places = [Place(folder / f"{number}", 0, len(content)) for number, content in enumerate(contents)]
        return list(zip(ids, places, strict=True))

    return make


def urls(held):
    return [f"sha256:{image_id}" for image_id, _ in held]


def test_pictures_are_kept_as_they_are_and_the_others_have_the_reasons_of_downloads(tmp_path, held):
    cut, large = picture(1)[:-30], picture(2, side=64)
    found = held(picture(3), b"", b"no picture", cut, large, BOMB, picture(4))
    rule = DownloadRule(max_bytes=len(large) - 1, max_pixels=1000)
    before = Image.MAX_IMAGE_PIXELS
    assert take_pictures(urls(found), lambda: found, rule, folder=tmp_path / "d", threads=3) == 7
    assert before == Image.MAX_IMAGE_PIXELS
    records = {row["url"]: row for row in read_downloads(tmp_path / "d").to_pylist()}
    outcomes = [(records[url]["outcome"], records[url]["verdict"]) for url in urls(found)]
    assert outcomes == [
        ("success", "kept"), ("empty_body", "failed"), ("not_an_image", "failed"), ("truncated_image", "failed"),
        ("too_many_bytes", "dropped"), ("too_many_pixels", "dropped"), ("success", "kept"),
    ]  # fmt: skip
    first = records[urls(found)[0]]
    assert (first["width"], first["height"], first["format"], first["n_bytes"]) == (24, 24, "png", len(picture(3)))
    assert list(read_images(tmp_path / "d", [found[6][0], found[0][0]])) == [picture(4), picture(3)]


def test_a_second_call_takes_what_is_new_and_reads_nothing_else(tmp_path, held):
    first, second = held(picture(1), picture(2))
    rule, done = DownloadRule(), []
    assert take_pictures(urls([first]), lambda: [first], rule, folder=tmp_path / "d") == 1
    first[1].path.unlink()
    both = urls([first, second])
    assert take_pictures(both, lambda: [first, second], rule, folder=tmp_path / "d", progress=done.append) == 1
    assert (sum(done), read_downloads(tmp_path / "d").num_rows) == (2, 2)
    assert take_pictures(both, lambda: pytest.fail("looked"), rule, folder=tmp_path / "d") == 0


def test_a_picture_that_is_gone_or_has_changed_stops_and_what_was_taken_stays(tmp_path, held):
    found = held(picture(1), picture(2))
    with pytest.raises(StorageError, match="2 are gone, first `sha256:"):
        take_pictures(urls(found), list, DownloadRule(), folder=tmp_path / "d")
    found[1][1].path.write_bytes(picture(2)[:-1] + b"x")
    with pytest.raises(StorageError, match="it has changed"):
        take_pictures(urls(found), lambda: found, DownloadRule(), folder=tmp_path / "d")
    assert read_downloads(tmp_path / "d").num_rows == 0


def test_many_shards_hold_every_picture_once_and_equal_ones_are_taken_once(tmp_path, held, monkeypatch):
    monkeypatch.setattr("evenly.storage.pools.local_pictures.SHARD_SIZE", 3)
    found = held(*(picture(seed) for seed in (0, 1, 2, 3, 4, 5, 6, 0, 3)))
    assert take_pictures(urls(found), lambda: found, DownloadRule(), folder=tmp_path / "d", threads=2) == 7
    ids = [image_id for image_id, _ in found]
    assert [hashlib.sha256(data).hexdigest() for data in read_images(tmp_path / "d", ids)] == ids
    assert len(list((tmp_path / "d").glob("*.tar"))) == 3
    assert read_downloads(tmp_path / "d").schema.field("fetched_at").type == pa.timestamp("us", tz="UTC")


def test_a_picture_that_was_not_taken_is_not_there(tmp_path):
    with pytest.raises(DownloadError, match="must be of pictures"):
        read_images(tmp_path, ["0" * 64])


def test_what_a_picture_at_hand_reserves_is_read_as_that_of_a_download(tmp_path, held):
    found = held(with_store("JPEG"), with_xmp("PNG", mining("DMI-PROHIBITED")), picture(3))
    for respect in ((), ("iptc", "c2pa")):  # another rule may come: each judges by what is recorded
        folder = tmp_path / str(len(respect))
        take_pictures(urls(found), lambda: found, DownloadRule(respect=respect), folder=folder)
        records = {row["url"]: row for row in read_downloads(folder).to_pylist()}
        rows = [records[url] for url in urls(found)]
        assert [(row["outcome"], row["reservation"]) for row in rows] == [
            ("success", "c2pa"), ("success", "iptc"), ("success", ""),
        ]  # fmt: skip
        assert "plus:DataMining DMI-PROHIBITED" in rows[1]["reservation_evidence"]
