from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenly.demo.draws import DEMO_SEED
from evenly.demo.scenes.captions import long_caption, short_caption, vague_caption, wrong_captions
from evenly.demo.scenes.catalogue import read_things
from evenly.demo.scenes.layout import REVERSED
from evenly.demo.scenes.plans import plan_scene
from evenly.demo.scenes.scores import CaptionScore, SceneFacts, score_caption, total_scores

FACTS = SceneFacts(
    counts={"dog": 2, "car": 1, "astronaut": 1},
    colours={"dog": None, "car": "red", "astronaut": "grey"},
    general=frozenset({"animal", "pet", "vehicle", "person", "woman"}),
    relations=frozenset(
        {
            ("dog", "left_of", "car"),
            ("car", "right_of", "dog"),
            ("astronaut", "on", "car"),
            ("car", "under", "astronaut"),
        }
        | {("astronaut", "above", "car"), ("car", "below", "astronaut")}
    ),
)
WRONG = {"object": "wrong", "count": "wrong_counts", "colour": "wrong_colours", "relation": "wrong_relations"}
TOKENS = """
a an two three the no red blue car cars dog dogs puppy cat animal woman on under left right of to is . and hot ice cream
some pair snow
"""
words = st.lists(st.sampled_from(TOKENS.split()), max_size=20).map(" ".join)


def facts_of_plan(plan):
    """The facts as the plan has them; tests of the folder take them from the picture."""
    names = [group.name for group in plan.groups]
    relations = {(names[i], relation, names[j]) for i, relation, j in plan.relations}
    relations |= {(second, REVERSED[relation], first) for first, relation, second in relations}
    above = {"on": "above", "under": "below"}
    relations |= {(first, above[relation], second) for first, relation, second in relations if relation in above}
    return SceneFacts(
        counts={group.name: group.count for group in plan.groups},
        colours={group.name: group.colour for group in plan.groups},
        general=frozenset(kind for group in plan.groups for kind in group.thing.kinds),
        relations=frozenset(relations),
    )


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("two dogs left of a red car", {"named": ("dog", "car"), "missed": ("astronaut",)}),
        ("a puppy", {"named": ("dog",), "wrong_counts": (("dog", 1),)}),
        ("Puppies! And an automobile.", {"named": ("dog", "car"), "counts": (("dog", None), ("car", 1))}),
        ("several dogs", {"counts": (("dog", None),)}),
        ("a group of dogs and a pair of cars", {"counts": (("dog", None),), "wrong_counts": (("car", 2),)}),
        ("the dogs beside the car", {"named": ("dog", "car"), "counts": (), "wrong_counts": (), "relations": ()}),
        ("a blue car", {"wrong_colours": (("car", "blue"),)}),
        ("the car is red", {"colours": (("car", "red"),)}),
        ("the car is gray", {"wrong_colours": (("car", "grey"),)}),
        ("brown dogs", {"colours": (), "wrong_colours": ()}),
        ("dogs to the left of the car", {"relations": (("dog", "left_of", "car"),)}),
        ("a car left of two dogs", {"wrong_relations": (("car", "left_of", "dog"),)}),
        ("an astronaut on top of a car", {"relations": (("astronaut", "on", "car"),)}),
        ("a car underneath an astronaut", {"relations": (("car", "below", "astronaut"),)}),
        ("a car over an astronaut", {"wrong_relations": (("car", "above", "astronaut"),)}),
        ("a car. On the left of two dogs", {"relations": (), "wrong_relations": ()}),
        ("two dogs on a beach left of a car", {"relations": (("dog", "left_of", "car"),)}),
        ("a hot dog", {"named": (), "wrong": ("hot dog",)}),
        ("an animal and a woman", {"general": ("animal", "woman"), "named": ()}),
        ("a man with a bird", {"wrong_general": ("man", "bird")}),
        ("no cat and no dog, without a car", {"named": (), "wrong": ()}),
        ("image not available", {"named": (), "wrong": (), "general": ()}),
        ("", {"named": (), "missed": ("dog", "car", "astronaut")}),
    ],
)
def test_a_caption_is_held_against_the_facts(caption, expected):
    score = score_caption(caption, FACTS)
    assert {field: getattr(score, field) for field in expected} == expected


def test_precision_and_recall_are_of_the_things_named():
    score = score_caption("a dog, a puppy, a cat and a car", FACTS)
    assert (score.precision, score.recall) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert score_caption("an animal", FACTS).precision is None
    assert score_caption("an animal", FACTS).recall == 0


def test_names_of_other_things_count_where_they_are_handed_in():
    caption = "two dogs beside three isopods"
    assert score_caption(caption, FACTS).wrong == ()
    score = score_caption(caption, FACTS, further_names=["isopod", "dog", "vehicle"])
    assert (score.named, score.wrong) == (("dog",), ("isopod",))
    assert score_caption("a vehicle", FACTS, further_names=["vehicle"]).general == ("vehicle",)


@pytest.mark.parametrize("name", sorted(read_things()))
def test_every_thing_is_known_by_all_its_words_and_by_no_other_name(name):
    thing = read_things()[name]
    facts = SceneFacts(counts={name: 2}, colours={name: None}, general=frozenset(), relations=frozenset())
    for singular, plural in {name: thing.plural, **thing.synonyms}.items():
        one, two = score_caption(f"a {singular}", facts), score_caption(f"two {plural}", facts)
        assert (one.named, one.wrong, one.wrong_counts) == ((name,), (), ((name, 1),))
        assert (two.named, two.wrong, two.counts) == ((name,), (), ((name, 2),))


@given(st.integers(0, 100_000))
def test_right_captions_are_right_and_wrong_ones_wrong_in_their_way_alone(number):
    plan = plan_scene(number, DEMO_SEED)
    facts = facts_of_plan(plan)
    for right in (short_caption(plan), long_caption(plan).text):
        score = score_caption(right, facts)
        assert not score.has_error
        assert (score.precision, score.recall) == (1, 1)
        assert len(score.counts) == len(plan.groups)
        assert len(score.relations) == len(plan.relations)
        assert len(score.colours) == sum(group.colour is not None for group in plan.groups)
    for kind, caption in wrong_captions(plan).items():
        score = score_caption(caption, facts)
        assert [wrong for wrong, field in WRONG.items() if getattr(score, field)] == [kind]
    vague = score_caption(vague_caption(plan), facts)
    assert not vague.has_error
    assert vague.named == ()


@given(words)
def test_each_thing_of_a_scene_is_named_or_missed_and_none_is_both(caption):
    score = score_caption(caption, FACTS)
    assert sorted([*score.named, *score.missed]) == sorted(FACTS.counts)
    assert not set(score.wrong) & set(FACTS.counts)
    for field in fields(CaptionScore):
        values = getattr(score, field.name)
        assert len(values) == len(set(values))
    assert not set(score.relations) & set(score.wrong_relations)
    assert set(score.relations) <= FACTS.relations


@given(words, words)
def test_a_score_does_not_depend_on_case_and_sentences_add_up(first, second):
    assert score_caption(first.upper(), FACTS) == score_caption(first, FACTS)
    both = score_caption(f"{first}. {second}", FACTS)
    parts = [score_caption(text, FACTS) for text in (first, second)]
    for field in ("named", "wrong", "general", "wrong_general"):
        assert set(getattr(both, field)) == {value for part in parts for value in getattr(part, field)}


@given(st.lists(words, max_size=6))
def test_totals_are_sums_and_the_shares_follow_from_them(captions):
    scores = [score_caption(caption, FACTS) for caption in captions]
    total = total_scores(scores)
    assert total["named"] == sum(len(score.named) for score in scores)
    assert total["named"] + total["missed"] == len(captions) * len(FACTS.counts)
    named, wrong = total["named"], total["wrong"]
    assert total["precision"] == (named / (named + wrong) if named + wrong else None)
