from itertools import combinations

import pytest

from evenly.demo.draws import DEMO_SEED
from evenly.demo.names import toneless
from evenly.demo.pictures.duplicates import find_twins
from evenly.demo.pictures.openmoji import list_codes
from evenly.demo.scenes.catalogue import KINDS, PARTS, hand_of, plural_of, read_things, things_of


@pytest.mark.parametrize("seed", [DEMO_SEED, 7])
def test_no_picture_is_in_two_parts_and_each_is_in_one(seed):
    codes = [{code for codes in things_of(part, seed).values() for code in codes} for part in PARTS]
    assert not any(first & second for first, second in combinations(codes, 2))
    assert set().union(*codes) == {code for thing in read_things().values() for code in thing.codes}


def test_a_thing_of_three_pictures_is_in_all_parts_and_one_of_two_in_train_and_test():
    for name, thing in read_things().items():
        parts = {part for part in PARTS if name in things_of(part, DEMO_SEED)}
        if len(thing.codes) > 1:
            assert parts == (set(PARTS) if len(thing.codes) > 2 else {"train", "test"})


def test_pictures_are_in_the_package_once_and_no_two_look_alike():
    codes = [code for thing in read_things().values() for code in thing.codes]
    assert len(codes) == len(set(codes))
    assert set(codes) <= set(list_codes())
    assert find_twins([code for code in codes if toneless(code) == code]) == {}


def test_people_come_as_men_and_women_of_all_skin_tones():
    people = [thing for thing in read_things().values() if thing.kinds == ("person",)]
    assert len(people) > 10
    for thing in people:
        hands = {(hand.gender, hand.skin_tone) for hand in map(hand_of, thing.codes)}
        assert len(hands) == 12
        assert not thing.is_recoloured


def test_names_kinds_and_classes_fit_together():
    things = read_things()
    assert all(set(thing.kinds) <= KINDS.keys() for thing in things.values())
    assert not things.keys() & KINDS.keys()
    fine = [name for name, thing in things.items() if thing.is_fine]
    assert len(fine) == 19
    for part in ("train", "test"):
        assert set(fine) <= things_of(part, DEMO_SEED).keys()


def test_plurals_of_synonyms_are_regular_or_written_down():
    assert [plural_of(noun) for noun in ("dog", "bus", "puppy", "tray")] == ["dogs", "buses", "puppies", "trays"]
    assert read_things()["cow"].synonyms["ox"] == "oxen"
    assert read_things()["sheep"].noun(2) == "sheep"
