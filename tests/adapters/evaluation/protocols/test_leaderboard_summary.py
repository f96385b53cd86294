import numpy as np
import pandas as pd
import pytest

from evenly.adapters.evaluation.protocols.leaderboard import summarise_runs
from evenly.adapters.evaluation.protocols.leaderboard_runs import RunKey

GENERATOR = np.random.default_rng(0)


def cells(keys, correct, *, shots=1):
    """Rows of runs, one per (key, seed)."""
    return pd.DataFrame(
        {
            "name": key.name, "texts": key.texts, "shots": shots, "seed": seed, "run_shots": key.shots,
            "run_seed": key.seed, "accuracy": correct[key].mean(), "top5": 1.0, "mean_per_class": 0.5,
            "calibration_error": 0.1, "validation_accuracy": 0.6 + 0.1 * seed, "zero_shot_validation_accuracy": 0.6,
            "kept_zero_shot": seed == 1, "seconds": 2.0,
        }
        for key, seed in keys
    )  # fmt: skip


def two(n=400, groups=None, spread=0.0):
    """zero_shot, one run for three seeds, and gda, a run per seed."""
    base = RunKey("zero_shot", "names", 0, 0)
    runs = [RunKey("gda", "names", 1, seed) for seed in (1, 2, 3)]
    correct = {base: GENERATOR.random(n) < 0.6}
    for place, key in enumerate(runs):
        correct[key] = GENERATOR.random(n) < 0.7 + spread * (place - 1)
    table = cells([(base, seed) for seed in (1, 2, 3)] + [(key, key.seed) for key in runs], correct)
    names = np.arange(n) if groups is None else groups
    return summarise_runs(table, correct, names, baseline=("zero_shot", "names")), correct


def test_means_counts_and_the_smallest_margin():
    table, correct = two()
    zero_shot, gda = table.iloc[0], table.iloc[1]
    own = [right.mean() for key, right in correct.items() if key.name == "gda"]
    assert gda["accuracy"] == pytest.approx(np.mean(own))
    assert gda["seed_deviation"] == pytest.approx(np.std(own, ddof=1))
    assert gda["difference"] == pytest.approx(np.mean(own) - correct["zero_shot", "names", 0, 0].mean())
    assert gda["validation_margin"] == pytest.approx(0.1)
    assert (gda["kept_zero_shot"], gda["seeds"], gda["runs"]) == (1, 3, 3)
    assert (zero_shot["seeds"], zero_shot["runs"], zero_shot["seed_deviation"]) == (3, 1, 0.0)


def test_the_interval_equals_the_plain_loop():
    groups = GENERATOR.integers(30, size=400)
    table, correct = two(groups=groups)
    names = np.unique(groups)
    rows = [np.flatnonzero(groups == name) for name in names]
    drawn_groups = np.random.default_rng(0).integers(len(names), size=(2000, len(names)))
    drawn_seeds = np.random.default_rng([0, 1]).integers(3, size=(2000, 3))
    own = [right for key, right in correct.items() if key.name == "gda"]
    zero_shot = correct["zero_shot", "names", 0, 0]
    means, gains = [], []
    for group_draw, seed_draw in zip(drawn_groups, drawn_seeds, strict=True):
        here = np.concatenate([rows[group] for group in group_draw])
        means.append(np.mean([own[seed][here].mean() for seed in seed_draw]))
        gains.append(means[-1] - zero_shot[here].mean())
    gda = table.iloc[1]
    np.testing.assert_allclose(gda[["low", "high"]].astype(float), np.quantile(means, [0.025, 0.975]))
    expected = np.quantile(gains, [0.025, 0.975])
    np.testing.assert_allclose(gda[["difference_low", "difference_high"]].astype(float), expected)


def test_seeds_that_differ_widen_the_interval():
    alike, apart = (two(n=4000, groups=np.arange(4000) % 500, spread=spread)[0].iloc[1] for spread in (0.0, 0.15))
    assert apart["high"] - apart["low"] > 3 * (alike["high"] - alike["low"])


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Runs of many draws, each with its own accuracy: of 100 intervals near 95 % hold the mean of all draws."""
    generator, held = np.random.default_rng(3), 0
    for trial in range(100):
        base, skill = RunKey("zero_shot", "names", 0, 0), generator.normal(size=300)
        correct = {base: generator.random(300) < 0.5}
        keys = [(base, seed) for seed in range(8)]
        for seed in range(8):
            key = RunKey("gda", "names", 1, seed)
            correct[key] = skill + generator.normal(0, 0.1) + generator.normal(size=300) > -0.7
            keys.append((key, seed))
        row = summarise_runs(
            cells(keys, correct), correct, np.arange(300), baseline=("zero_shot", "names"), seed=trial
        ).iloc[1]
        truth = 0.6894  # P(N(0, 2 + 0.01) > -0.7)
        held += row["low"] <= truth <= row["high"]
    assert 0.87 <= held / 100 <= 1.0


def test_one_test_group_gives_no_interval():
    table, _ = two(groups=np.zeros(400))
    assert table[["low", "high", "difference_low", "difference_high"]].isna().all(axis=None)
    assert table["accuracy"].notna().all()
