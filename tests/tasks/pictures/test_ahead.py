"""Pictures read ahead: in their order, within a size in memory, and no longer than somebody takes them."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.features.encoders.stages import DECODING, READING, profiled
from evenly.storage.files.image_folders import Picture
from evenly.tasks.adapters.pictures import read_ahead
from evenly.tasks.decoding import ReadPicture

SIDE = 10
BYTES = SIDE * SIDE * 3


class Reader:
    """Gives pixels after a moment, a longer one for some; counts what it was asked for."""

    def __init__(self, moments: list[int] | None = None) -> None:
        self.asked: list[bytes] = []
        self.moments = moments or [0]

    def read_one(self, data: bytes) -> ReadPicture:
        number = int(data)
        self.asked.append(data)
        time.sleep(self.moments[number % len(self.moments)] / 1000)
        return ReadPicture(error="", pixels=np.full((SIDE, SIDE, 3), number % 256, np.uint8))


def pictures(count: int) -> list[Picture]:
    return [Picture(str(number), str(number).encode(), "") for number in range(count)]


def asked(reader: Reader, least: int) -> int:
    """How many pictures the reader was asked for, once they are so many and more had a moment to come."""
    until = time.monotonic() + 60
    while len(reader.asked) < least and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    return len(reader.asked)


@given(count=st.integers(0, 20), threads=st.integers(1, 4), most=st.integers(0, 5), moments=st.lists(st.integers(0, 3)))
def test_all_come_in_their_order_whatever_takes_longer(count, threads, most, moments):
    with read_ahead(Reader(moments), pictures(count), threads=threads, most_bytes=most * BYTES + 1) as reads:
        taken = [(name, int(one.pixels[0, 0, 0])) for name, one in reads]
    assert taken == [(str(number), number) for number in range(count)]


def test_reading_begins_before_anything_is_taken_and_stops_at_the_size():
    reader = Reader()
    with read_ahead(reader, pictures(100), threads=2, most_bytes=10 * BYTES) as reads:
        assert 10 <= asked(reader, 10) <= 13  # and what was begun with the tenth
        for _ in range(20):
            next(reads)
        assert 30 <= asked(reader, 30) <= 33
    assert asked(reader, 0) <= 33


def test_a_picture_without_bytes_is_not_read_and_takes_no_place():
    given = [Picture("gone", b"", "missing"), *pictures(1)]
    with read_ahead(Reader(), given, threads=1, most_bytes=1) as reads:
        (gone, missing), (_, there) = reads
    assert (gone, missing.error, missing.pixels) == ("gone", "missing", None)
    assert there.pixels is not None


def test_an_error_of_where_pictures_come_from_comes_after_those_before():
    def broken():
        yield from pictures(3)
        raise OSError("the disk is gone")

    taken = []

    def take_all():
        with read_ahead(Reader(), broken(), threads=2) as reads:
            for name, _ in reads:
                taken.append(name)

    with pytest.raises(OSError, match="the disk is gone"):
        take_all()
    assert taken == ["0", "1", "2"]


def test_a_profile_tells_reading_files_from_decoding_them():
    def slowly():
        for picture in pictures(3):
            time.sleep(0.05)
            yield picture

    with profiled() as profile, read_ahead(Reader([10]), slowly(), threads=1) as reads:
        assert len(list(reads)) == 3
    assert profile.seconds[READING] >= 0.15
    assert profile.seconds[DECODING] >= 0.03


def test_leaving_early_ends_the_threads():
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), read_ahead(Reader([1]), pictures(10_000), threads=2):
        raise KeyboardInterrupt
    assert threading.active_count() == before
