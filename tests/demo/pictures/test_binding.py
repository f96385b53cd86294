import io

from PIL import Image

from evenly.demo.pictures.binding import COLOURS, ITEMS, SIDE_PX, THINGS, compositions


def test_every_two_different_things_stand_side_by_side_in_both_orders():
    found = compositions()
    pairs = {composition.items for composition in found}
    assert len(pairs) == len(found)
    assert {(right, left) for left, right in pairs} == pairs
    assert all(left.thing != right.thing for left, right in pairs)
    assert len(THINGS) == 12
    assert len(COLOURS) == 6


def test_a_picture_shows_two_items_and_is_the_same_each_time():
    first, again = compositions()[0], compositions()[0]
    assert first.png == again.png
    with Image.open(io.BytesIO(first.png)) as picture:
        assert picture.size == (2 * SIDE_PX, SIDE_PX)
        halves = [picture.crop((left, 0, left + SIDE_PX, SIDE_PX)) for left in (0, SIDE_PX)]
    assert len({half.tobytes() for half in halves}) == 2


def test_a_weakly_associated_thing_has_several_colours():
    weak = [item for item in ITEMS if item.strength == "weak"]
    assert all(len({item.colour for item in weak if item.thing == thing}) > 1 for thing in {i.thing for i in weak})
