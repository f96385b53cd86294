from collections import Counter, defaultdict

import pytest

from evenly.demo.draws import DEMO_SEED
from evenly.demo.errors import FolderError
from evenly.demo.ground.captions import caption_of, ground_sayings
from evenly.demo.ground.classes import LISTS, PARTS, members_of, read_classes
from evenly.demo.ground.plans import AGREEING, HUES, plan_ground, usual_background
from evenly.demo.pictures.openmoji import list_codes

HANDS = ("openmoji", "noto", "twemoji", "fluent")


@pytest.fixture(scope="module")
def plans():
    return plan_ground(members_of(None, DEMO_SEED), HANDS, DEMO_SEED)


def test_every_class_is_in_every_part_and_no_family_in_two():
    members = members_of(None, DEMO_SEED)
    parts_of = defaultdict(set)
    for member in members:
        parts_of[member.group].add(member.part)
    assert all(len(parts) == 1 for parts in parts_of.values())
    of_parts = {part: [member for member in members if member.part == part] for part in PARTS}
    assert all({member.label for member in of_part} == set(read_classes()) for of_part in of_parts.values())
    assert len({member.group for member in of_parts["test"]}) >= 300
    assert len(members) >= 1100
    assert len({member.code for member in members}) == len(members)
    assert {member.code for member in members} <= set(list_codes())
    assert len(read_classes()) == 41
    assert {of.list for of in read_classes().values()} == set(LISTS)


def test_near_classes_are_of_kinds_that_known_ones_have_and_unknown_ones_are_not():
    kinds = defaultdict(set)
    for of in read_classes().values():
        kinds[of.list].add(of.kind)
    assert kinds["near"] <= kinds["known"]
    assert not kinds["unknown"] & kinds["known"]


def test_fewer_codes_still_have_every_class_in_every_part():
    members = members_of(400, DEMO_SEED)
    assert 400 <= len(members) < 430
    assert {(member.label, member.part) for member in members} == {(c, part) for c in read_classes() for part in PARTS}
    with pytest.raises(FolderError, match=r"`codes` must be at least \d+, .*; got 9"):
        members_of(9, DEMO_SEED)


def test_each_code_is_drawn_by_each_hand_and_neighbours_are_of_one_part(plans):
    whites = Counter((plan.members[0].code, plan.hand) for plan in plans if plan.kind == "white")
    members = members_of(None, DEMO_SEED)
    assert whites == Counter((member.code, hand) for member in members for hand in HANDS)
    parts = defaultdict(set)
    for plan in plans:
        parts[plan.number // 8].add(plan.part)
        assert {member.part for member in plan.members} == {plan.part}
    assert all(len(of) == 1 for of in parts.values())
    assert len({plan.number for plan in plans}) == len({plan.key for plan in plans}) == len(plans)


def test_class_and_background_agree_in_the_confounded_subset_alone(plans):
    agree = {True: [], False: []}
    for plan in plans:
        if plan.kind == "texture":
            usual = usual_background(plan.members[0].label, DEMO_SEED)
            agree[plan.is_confounded].append(plan.background == usual)
    assert sum(agree[True]) / len(agree[True]) == pytest.approx(AGREEING, abs=0.02)
    assert sum(agree[False]) / len(agree[False]) == pytest.approx(1 / 8, abs=0.02)
    assert not any(plan.is_confounded for plan in plans if plan.part == "refine")


def test_half_of_what_may_have_another_colour_has_one(plans):
    textured = [plan for plan in plans if plan.kind == "texture"]
    colours = Counter(plan.groups[0].colour for plan in textured)
    assert set(colours) == {None, *HUES}
    assert 1 - colours[None] / len(textured) == pytest.approx(0.5, abs=0.05)
    assert Counter(plan.groups[0].count for plan in textured).keys() == {1, 2, 3}


def test_captions_say_read_words_alone_and_wrong_ones_differ_in_what_they_say(plans):
    never = [word for of in read_classes().values() for word in (of.words["never"].singular, of.words["never"].plural)]
    for plan in plans[::97]:
        caption = caption_of(plan)
        wrong = {entry["kind"]: entry["caption"] for entry in ground_sayings(plan)["wrong_captions"]}
        assert caption.endswith(plan.background)
        assert {"object", "background"} <= set(wrong)
        assert all(text != caption for text in wrong.values())
        assert ("relation" in wrong) == (plan.kind == "pair")
        heads = caption.split(" (")[0]
        assert not any(heads.endswith(f" {word}") for word in never), caption


def test_the_late_sentence_lies_beyond_128_words(plans):
    for plan in plans[::997]:
        said = ground_sayings(plan)
        before, sentence, _ = said["long_caption"].partition(said["late_sentence"])
        assert sentence
        assert len(before.split()) > 128
