"""One picture that is gone does not hide the others, however the reader fails."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.audit.image_bytes import each_image
from evenly.storage.errors import NotFoundError

IDS = [f"id {number:03}" for number in range(600)]


def test_pictures_come_in_order_in_batches():
    asked: list[int] = []

    def read(ids):
        asked.append(len(ids))
        return [one.encode() for one in ids]

    assert list(each_image(read, IDS)) == [(one, one.encode()) for one in IDS]
    assert asked == [256, 256, 88]
    assert list(each_image(read, [])) == []


@pytest.mark.parametrize("error", [NotFoundError, OSError, KeyError, ValueError])
def test_one_that_fails_is_said_and_the_rest_of_its_batch_read_one_by_one(error):
    def read(ids):
        if "id 003" in ids:
            raise error("gone")
        return [one.encode() for one in ids]

    found = dict(each_image(read, IDS))
    assert found.pop("id 003").startswith(f"{error.__name__}: ")
    assert found == {one: one.encode() for one in IDS if one != "id 003"}


def test_a_reader_that_stops_half_way_or_says_nothing_is_not_believed():
    def lazy(_ids):
        yield b"first"
        raise OSError("cable pulled")

    assert dict(each_image(lazy, IDS[:2])) == {"id 000": b"first", "id 001": b"first"}
    assert dict(each_image(lambda ids: [ids[0].encode()], IDS[:2])) == {one: one.encode() for one in IDS[:2]}
    assert dict(each_image(lambda _: [], IDS[:2])) == dict.fromkeys(IDS[:2], "nothing came back")


@given(lost=st.sets(st.integers(0, 40)), n=st.integers(0, 40))
def test_every_id_comes_back_once_whatever_is_lost(lost, n):
    ids = IDS[:n]

    def read(some):
        for one in some:
            if int(one[3:]) in lost:
                raise LookupError(one)
            yield one.encode()

    found = list(each_image(read, ids))
    assert [one for one, _ in found] == ids
    assert {one for one, data in found if isinstance(data, str)} == {one for one in ids if int(one[3:]) in lost}
