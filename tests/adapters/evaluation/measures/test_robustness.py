import numpy as np
import pytest

from evenly.adapters.errors import SplitError
from evenly.adapters.evaluation.measures.bootstrap import bootstrap_accuracy, paired_bootstrap
from evenly.adapters.evaluation.measures.robustness import corruption_robustness

GENERATOR = np.random.default_rng(0)
CLEAN = GENERATOR.random(300) < 0.8
CORRUPTED = {
    (name, strength): CLEAN & (GENERATOR.random(300) < 1 - hardness * strength)
    for name, hardness in (("noise", 0.15), ("fog", 0.05))
    for strength in (3, 1, 2)
}
GROUPS = np.arange(300) // 3


@pytest.fixture(scope="module")
def found():
    return corruption_robustness(CLEAN, CORRUPTED, seed=0, groups=GROUPS, n=400)


def test_curves_start_clean_and_go_by_strength(found):
    cells = list(zip(found.curves["corruption"], found.curves["strength"], strict=True))
    assert cells == [("clean", 0), *((name, s) for name in ("noise", "fog") for s in (1, 2, 3))]
    assert (found.curves["n"] == 300).all()
    assert found.curves["drop"][0] == 0
    for name in ("noise", "fog"):
        assert found.curves[found.curves["corruption"] == name]["accuracy"].is_monotonic_decreasing


def test_each_cell_has_the_interval_of_its_own_bootstrap(found):
    for _, row in found.curves.iloc[1:].iterrows():
        correct = CORRUPTED[row["corruption"], row["strength"]]
        alone = bootstrap_accuracy(correct, seed=0, groups=GROUPS, n=400)
        np.testing.assert_allclose([row["accuracy"], row["low"], row["high"]], alone, atol=1e-12)
        drop = paired_bootstrap(correct, CLEAN, seed=0, groups=GROUPS, n=400)
        np.testing.assert_allclose([row["drop"], row["drop_low"], row["drop_high"]], drop, atol=1e-12)


def test_means_count_corruptions_alike(found):
    means = {name: np.mean([v.mean() for cell, v in CORRUPTED.items() if cell[0] == name]) for name in ("noise", "fog")}
    assert found.corruptions["corruption"].tolist() == ["noise", "fog"]
    np.testing.assert_allclose(found.corruptions["accuracy"], list(means.values()))
    assert found.corruptions["strengths"].tolist() == [3, 3]
    assert found.mean_accuracy.estimate == pytest.approx(np.mean(list(means.values())))
    assert found.clean.estimate == CLEAN.mean()
    drop = 1 - found.mean_accuracy.estimate / CLEAN.mean()
    assert found.relative_drop.estimate == pytest.approx(drop)
    assert found.relative_drop.low < drop < found.relative_drop.high
    assert found.missing == ()


def test_a_cell_that_was_not_handed_in_is_named_and_left_out():
    some = {cell: values for cell, values in CORRUPTED.items() if cell != ("fog", 3)}
    found = corruption_robustness(CLEAN, some, seed=0, n=20)
    assert found.missing == (("fog", 3),)
    assert found.corruptions["strengths"].tolist() == [3, 2]
    fog = np.mean([some["fog", s].mean() for s in (1, 2)])
    assert found.corruptions["accuracy"][1] == pytest.approx(fog)


def test_nothing_right_on_clean_pictures_has_no_relative_drop():
    found = corruption_robustness(np.zeros(9), {("fog", 1): np.zeros(9)}, seed=0, n=20)
    assert found.mean_accuracy.estimate == 0
    assert np.isnan(found.relative_drop.estimate)
    assert found.corruptions["relative_drop"].isna().all()


def test_no_rows_or_one_group_give_no_interval():
    empty = corruption_robustness([], {("fog", 1): []}, seed=0, n=20)
    assert np.isnan(empty.clean).all()
    one = corruption_robustness(CLEAN, CORRUPTED, seed=0, groups=np.zeros(300), n=20)
    assert one.clean.estimate == CLEAN.mean()
    assert one.curves["low"].isna().all()


@pytest.mark.parametrize("corrupted", [{}, {("fog", 1): CLEAN[:9]}])
def test_rows_that_do_not_match_are_refused(corrupted):
    with pytest.raises(SplitError, match=r"`corrupted` must hold at least one array, each of the shape of `clean`"):
        corruption_robustness(CLEAN, corrupted, seed=0)
