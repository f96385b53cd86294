"""Settings are judged in pairs; each half of the held-out groups chooses one, and the other half tests it."""

import numpy as np
import pyarrow as pa
import pytest

from evenly.adapters.evaluation.measures.paired import is_first_half
from evenly.adapters.evaluation.protocols.settings import RANDOM, RECIPE, Arm, compare_arms
from evenly.features.refining.training import TrainingRule
from evenly.flows.tune_recipe import settings_of
from evenly.storage.builds import Builds
from evenly.storage.errors import InputError
from evenly.tasks.progress import Progress
from evenly.tasks.refining import tune as tune_module
from evenly.tasks.refining.tune import Setting, judge_settings
from evenly.tasks.run import Run
from tests.labelled_build import Picture, WordEncoder, publish

THINGS = ("cat", "dog", "ship", "whale", "tree", "house")
GROUPS = np.tile(np.repeat([f"group {number}" for number in range(60)], 3), 2)
SPLITS = np.repeat([0, 1], len(GROUPS) // 2)


def arm(name, correct):
    return Arm(name=name, available=100, trained=100, correct=correct, groups=GROUPS, splits=SPLITS)


@pytest.fixture
def recipe():
    return arm(RECIPE, np.random.default_rng(1).integers(2, size=len(GROUPS)).astype(np.float64))


def better(recipe, first, second, random_seed=2):
    """What finds a share of what the recipe misses in the first half of the groups, and another in the second."""
    names, places = np.unique(GROUPS, return_inverse=True)
    shares = np.where(is_first_half(names, seed=7)[places], first, second)
    return np.where(np.random.default_rng(random_seed).random(len(GROUPS)) < shares, 1.0, recipe.correct)


def test_equal_arms_do_not_beat_the_recipe(recipe):
    result = compare_arms([recipe, arm("a=1", recipe.correct), arm("a=2", recipe.correct)], seed=7)
    assert result["verdict"].startswith(
        "nothing beats the recipe: a=1, which both halves of the held-out groups choose"
    )
    assert result["gain"] == {"difference": 0, "difference_low": 0, "difference_high": 0}


def test_a_setting_that_is_lucky_in_the_half_that_chooses_it_gains_nothing(recipe):
    lucky, other = arm("lucky", better(recipe, 0.5, 0)), arm("other", better(recipe, 0, 0.5))
    result = compare_arms([recipe, lucky, other], seed=7)
    assert (result["choices"], result["chosen"]) == (["lucky", "other"], None)
    assert result["gain"]["difference"] == 0
    assert result["verdict"].startswith("nothing beats the recipe: lucky or other, as the halves choose")
    assert all(row["difference_low"] > 0 for row in result["rows"][1:])  # what each says of itself


def test_a_setting_that_is_better_in_both_halves_is_named_with_its_interval_and_beside_random_pairs(recipe):
    good = arm("good", better(recipe, 0.5, 0.5))
    result = compare_arms([recipe, arm(RANDOM, good.correct), arm("bad", recipe.correct * 0.5), good], seed=7)
    assert result["chosen"] == "good"
    row = result["rows"][-1]
    assert row["difference"] == result["gain"]["difference"] > result["gain"]["difference_low"] > 0
    assert "but not as many random pairs: +0.000 [-" in result["verdict"]
    alone = compare_arms([recipe, good], seed=7)
    assert alone["verdict"].startswith("good beats the recipe by +")
    assert alone["gain"]["difference"] == result["gain"]["difference"]


def test_two_settings_that_are_better_are_not_told_apart_where_the_halves_differ(recipe):
    first, second = arm("a", better(recipe, 0.8, 0.6)), arm("b", better(recipe, 0.6, 0.8, random_seed=3))
    result = compare_arms([recipe, first, second], seed=7)
    assert (result["choices"], result["chosen"]) == (["a", "b"], None)
    assert result["gain"]["difference_low"] > 0
    assert result["verdict"].startswith("a or b beats the recipe, and which is not shown: chosen by halves, by +")


def test_permuted_judgements_beat_nothing(recipe):
    """Of settings whose answers are those of good ones, but by chance or the recipe's, few are said to be better."""
    good, generator = better(recipe, 0.6, 0.6), np.random.default_rng(5)
    names, places = np.unique(GROUPS, return_inverse=True)
    shown = 0
    for _ in range(40):
        is_swapped = generator.random((2, len(names)))[:, places] < 0.5
        of_recipe = np.where(is_swapped[0], good, recipe.correct)
        settings = [
            arm(str(place), np.where(swapped, good, recipe.correct)) for place, swapped in enumerate(is_swapped)
        ]
        shown += compare_arms([arm(RECIPE, of_recipe), *settings], seed=7)["gain"]["difference_low"] > 0
    assert shown <= 4


def test_splits_are_resampled_beside_groups(recipe):
    shifted = recipe.correct + np.where(SPLITS == 0, -0.2, 0.2)
    (row,) = compare_arms([recipe, arm("a", shifted)], seed=7)["rows"][1:]
    assert row["difference_low"] < -0.1 < 0.1 < row["difference_high"]


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
        rows = tune_module._random(run, manifest, 1000)
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
    assert rows["same"]["difference"] == rows[RANDOM]["difference"] == 0  # the same pairs are the same heads
    again = judge_settings(run, manifest, settings, seeds=1, training=rule)
    assert again == result
