"""Settings are judged in pairs, chosen on one half of the held-out groups and tested on the other."""

import numpy as np
import pyarrow as pa
import pytest

from evenly.features.refining.training import TrainingRule
from evenly.flows.tune_recipe import settings_of
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.tasks.progress import Progress
from evenly.tasks.refining import tune as tune_module
from evenly.tasks.refining.tune import (
    CHOOSES,
    RANDOM,
    RECIPE,
    TESTS,
    Arm,
    Setting,
    compare_arms,
    halves_of,
    judge_settings,
)
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish

THINGS = ("cat", "dog", "ship", "whale", "tree", "house")
GROUPS = np.repeat([f"group {number}" for number in range(60)], 3)


def arm(name, correct):
    return Arm(name=name, available=100, trained=100, correct=correct, groups=GROUPS)


@pytest.fixture
def recipe():
    return arm(RECIPE, np.random.default_rng(1).integers(2, size=(len(GROUPS), 3)).astype(np.float64))


def better(recipe, half, share, seed=7):
    """An arm that finds a further share of what the recipe misses, in one half alone."""
    random = np.random.default_rng(2).random(recipe.correct.shape)
    is_found = (random < share) & (halves_of(GROUPS, seed=seed) == half)[:, None]
    return np.where(is_found, 1.0, recipe.correct)


def test_equal_arms_do_not_beat_the_recipe(recipe):
    result = compare_arms([recipe, arm("a=1", recipe.correct), arm("a=2", recipe.correct)], seed=7)
    assert result["verdict"].startswith("nothing beats the recipe: a=1")
    assert result["gain"] == {"difference": 0, "difference_low": 0, "difference_high": 0}


def test_one_half_chooses_and_the_other_tells_the_gain(recipe):
    halves = halves_of(GROUPS, seed=7)
    assert {name: len(np.unique(GROUPS[halves == name])) for name in (CHOOSES, TESTS)} == {CHOOSES: 30, TESTS: 30}
    assert all(len(set(halves[name == GROUPS])) == 1 for name in np.unique(GROUPS))
    lucky, late = arm("lucky", better(recipe, CHOOSES, 0.5)), arm("late", better(recipe, TESTS, 0.9))
    result = compare_arms([recipe, lucky, late], seed=7)
    assert result["chosen"] == "lucky"
    assert result["gain"]["difference"] == 0
    assert result["verdict"].startswith("nothing beats the recipe")


def test_a_setting_that_is_better_in_both_halves_is_named_with_its_interval_and_beside_random_pairs(recipe):
    good = arm("good", np.maximum(better(recipe, CHOOSES, 0.5), better(recipe, TESTS, 0.5)))
    random = arm(RANDOM, good.correct)
    result = compare_arms([recipe, random, arm("bad", recipe.correct * 0.5), good], seed=7)
    assert result["chosen"] == "good"
    assert result["gain"]["difference_low"] > 0
    assert result["verdict"].endswith("but not as many random pairs: +0.000 [+0.000, +0.000].")
    alone = compare_arms([recipe, good], seed=7)
    assert alone["verdict"].startswith("good beats the recipe by +")
    assert alone["gain"] == result["gain"]


def test_seeds_are_resampled_beside_groups(recipe):
    shifts = np.broadcast_to([-0.2, 0.0, 0.2], recipe.correct.shape)
    (row,) = compare_arms([recipe, arm("a", recipe.correct + shifts)], seed=7)["rows"][1:]
    assert row["tests_difference_low"] < -0.1 < 0.1 < row["tests_difference_high"]


def test_each_value_is_a_setting_or_all_fields_together():
    tries = ["align.keep_top=.3,.5", "text={}", "values.good={column: a, min: 1},null"]
    single = settings_of(tries)
    assert list(single) == [
        "align.keep_top=0.3",
        "align.keep_top=0.5",
        "text={}",
        'values.good={"column": "a", "min": 1}',
        "values.good=null",
    ]
    assert len(settings_of(tries, is_product=True)) == 4
    for wrong in ("align.keep_top", "=.3", "a=", "a=}"):
        with pytest.raises(InputError, match="`try` must"):
            settings_of([wrong])
    with pytest.raises(InputError, match="got none"):
        settings_of([])


def test_heads_of_right_captions_beat_those_of_a_build_with_wrong_ones(workspace, monkeypatch):
    monkeypatch.setattr("evenly.tasks.encoders._load", lambda _choice, _cache: WordEncoder())
    pictures = [
        Picture("", {name: 1.0, f"of {number}": 0.4}, "", caption(place, number))
        for number in range(30)
        for place, name in enumerate(THINGS)
        for caption in [lambda place, number: f"zz{(place + number % 2) % 6} by hand {number % 3}"]
    ]
    publish(workspace, pictures)
    run = Run(workspace=workspace, seed=7, progress=Progress(quiet=True))
    manifest = Builds(workspace).read("some-1")
    is_right = {f"{number:032x}": number // len(THINGS) % 2 == 0 for number in range(len(pictures))}

    def supposed(wanted):
        rows = tune_module._encoded(run, manifest)
        mask = pa.array([wanted(is_right[uid]) for uid in rows["uid"].to_pylist()])
        return Setting(pairs=rows.filter(mask).select(["uid", "image_id", "caption"]), unknown=3)

    settings = {"right": supposed(bool), "none": supposed(lambda _right: False), "same": supposed(lambda _right: True)}
    rule = TrainingRule(rank=8, epochs=10, batch_size=16, learning_rate=1e-2)
    result = judge_settings(run, manifest, settings, seeds=1, training=rule)
    rows = {row["pairs"]: row for row in result["rows"]}
    assert list(rows) == [RECIPE, RANDOM, "right", "same"]
    assert "must keep pairs to train on" in result["skipped"]["none"]
    assert (rows["right"]["unknown"], rows["right"]["kept"]) == (3, 90)
    assert rows["right"]["trained"] < rows["same"]["trained"] == result["trained"]
    assert (
        rows["same"]["tests_difference"] == rows[RANDOM]["tests_difference"] == 0
    )  # the same pairs are the same heads
    again = judge_settings(run, manifest, settings, seeds=1, training=rule)
    assert again == result
