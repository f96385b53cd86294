"""What curation is worth: other builds of a pool are judged on the same held-out pairs, none of which they train on."""

import numpy as np
import pytest

from evenly.features.refining.training import TrainingRule
from evenly.flows.measure_worth import LEFT_OUT, _variants, _without
from evenly.flows.recipe import read_recipe
from evenly.flows.recipe.files import DEMO
from evenly.flows.recipe.steps import steps_of
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.tasks.progress import Progress
from evenly.tasks.refining.worth import frozen_variant, hold_out, judge_variant, training_pairs, worth_table
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish

THINGS = ("cat", "dog", "ship", "whale", "tree", "house")
RULE = TrainingRule(rank=8, epochs=15, batch_size=16, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def _encoder(monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())


def pictures(captions):
    return [
        Picture("", {name: 1.0, f"of {number}": 0.4}, "", captions(place, number))
        for number in range(30)
        for place, name in enumerate(THINGS)
    ]


@pytest.fixture
def builds(workspace):
    """A build with a made-up word for each thing, and another of the same pool whose captions say nothing."""
    clean = pictures(lambda place, number: f"zz{place} by hand {number % 3}")
    dirty = pictures(lambda place, number: f"zz{(place * 7 + number) % 6} by hand {number % 3}")
    publish(workspace, clean)
    whole = Builds(workspace).read("some-1")
    publish(workspace, dirty, build="some-2")
    return whole, Builds(workspace).read("some-2")


def test_clean_captions_are_worth_more_than_wrong_ones_and_no_held_out_pair_is_trained_on(workspace, builds):
    run = Run(workspace=workspace, seed=7, progress=Progress(quiet=True))
    held_out = hold_out(run, builds[0], ())
    train = held_out.parts.pairs["train"]
    others = training_pairs(run, builds[1], held_out)
    assert not set(others.groups.tolist()) & held_out.groups
    assert set(others.uids.tolist()) == set(train.uids.tolist())
    seeds, count = (1, 2), 100
    variants = [
        judge_variant(name, pairs, held_out, RULE, count=count, seeds=seeds)
        for name, pairs in (("clean", train), ("wrong", others))
    ]
    rows = worth_table([*variants, frozen_variant(held_out)], seed=0)
    values = {(row["pairs"], row["measure"]): row for row in rows if row["of"] == "all pairs"}
    wrong = values["wrong", "picture to text R@1"]
    assert wrong["difference_high"] < 0
    assert wrong["value"] < values["clean", "picture to text R@1"]["value"]
    assert (wrong["trained"], wrong["available"]) == (100, len(train))
    assert values["clean", "picture to text R@1"]["difference"] == 0
    again = judge_variant("clean", train.rows(np.arange(len(train))[::-1]), held_out, RULE, count=count, seeds=seeds)
    assert worth_table([again], seed=0) == worth_table(variants[:1], seed=0)


def test_a_build_of_another_pool_has_nothing_to_train_on(workspace, builds):
    run = Run(workspace=workspace, seed=7, progress=Progress(quiet=True))
    held_out = hold_out(run, builds[0], ())
    every = type(held_out)(
        parts=held_out.parts, group_of=held_out.group_of, groups=frozenset(held_out.group_of.values())
    )
    with pytest.raises(InputError, match="`some-2` must keep pairs to train on"):
        training_pairs(run, builds[1], every)


def test_each_step_of_the_demo_is_left_out_in_turn_and_the_rest_stands():
    recipe = read_recipe(DEMO)
    whole = [step.name for step, _ in steps_of(recipe)]
    sections = {short: left_out for _, short, left_out in _variants(recipe)}
    with pytest.raises(InputError, match="match must be on for recaption by retrieved concepts"):
        _without(recipe, "match", sections.pop("match"))
    variants = {short: _without(recipe, short, left_out) for short, left_out in sections.items()}
    assert set(variants) - {"everything"} <= set(LEFT_OUT)
    assert {"text", "image", "deduplicate", "recaption", "align", "balance"} <= set(variants)
    names = {short: [step.name for step, _ in steps_of(one)] for short, one in variants.items()}
    assert all(set(left) <= set(whole) for left in names.values())
    assert variants["image"].curate.image == {}
    assert "check_texts" not in names["text"]
    assert "balance" not in names["balance"]
    assert not {"check_texts", "align", "balance", "recaption"} & set(names["everything"])
    assert len({one.name for one in variants.values()} | {recipe.name}) == len(variants) + 1
    long = recipe.model_copy(update={"name": "x" * 63})
    assert {_without(long, name, ("balance", "preselect")).name for name in ("balance", "image_based")} == {
        f"{'x' * 47}-without-balance", f"{'x' * 43}-without-image-based",
    }  # fmt: skip
