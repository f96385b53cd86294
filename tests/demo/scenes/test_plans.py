from collections import Counter

import pytest

from evenly.demo.draws import DEMO_SEED
from evenly.demo.scenes.catalogue import read_things, things_of
from evenly.demo.scenes.plans import LAYOUTS, NEIGHBOURS, SEATS, plan_scene, weighted

PLANS = [plan_scene(number, DEMO_SEED) for number in range(400)]


def test_a_scene_shows_pictures_of_its_part_alone():
    for plan in PLANS:
        things = things_of(plan.part, DEMO_SEED)
        assert all(set(group.codes) <= set(things[group.name]) for group in plan.groups)


def test_neighbours_are_of_one_part_and_begin_with_different_things():
    for first in range(0, len(PLANS), NEIGHBOURS):
        neighbours = PLANS[first : first + NEIGHBOURS]
        assert len({plan.part for plan in neighbours}) == 1
        assert len({plan.groups[0].name for plan in neighbours}) == NEIGHBOURS


def test_a_scene_shows_a_thing_once_and_single_pictures_show_fine_classes():
    for plan in PLANS:
        names = [group.name for group in plan.groups]
        assert len(names) == len(set(names))
        if len(names) == 1:
            assert plan.groups[0].count == 1
            assert read_things()[names[0]].is_fine


def test_what_bears_others_can_and_few_stand_on_it():
    for plan in PLANS:
        if plan.relations and plan.relations[0][1] in {"on", "under"}:
            lower, upper = (1, 0) if plan.relations[0][1] == "on" else (0, 1)
            assert plan.groups[lower].thing.is_support
            assert plan.groups[lower].count == 1
            assert plan.groups[upper].count <= SEATS


def test_layouts_have_their_shares():
    counts = Counter(len(plan.groups) for plan in PLANS)
    shares = [counts[n] / len(PLANS) for n in (1, 2, 3)]
    assert shares == pytest.approx(list(LAYOUTS.values()), abs=0.08)


def test_another_seed_makes_other_scenes():
    assert plan_scene(3, 1) == plan_scene(3, 1)
    assert plan_scene(3, 1) != plan_scene(3, 2)


def test_a_weighted_choice_takes_each_key_at_its_weight():
    drawn = Counter(weighted({"a": 0.1, "b": 0.9}, 1, str(number)) for number in range(2000))
    assert drawn["a"] / 2000 == pytest.approx(0.1, abs=0.03)
    assert set(drawn) == {"a", "b"}
