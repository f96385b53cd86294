import inspect
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from evenly.adapters import ADAPTERS
from evenly.adapters.contract import Grid
from evenly.adapters.errors import InvalidFeaturesError, ParameterError
from evenly.adapters.methods.gda import GDA
from evenly.adapters.methods.linear import LinearProbe
from evenly.adapters.methods.zero_shot import ZeroShot
from evenly.adapters.search import FULL_GRID, tune
from tests.adapters.conftest import labelled


def tuned(kind, digits, *, train=slice(0, 200), val=slice(200, 500), **options):
    support, validation = (labelled(*digits.complete(part.start, part.stop)) for part in (train, val))
    return tune(kind, train=support, validation=validation, **options)


def test_there_is_no_way_to_hand_in_test_data():
    assert set(inspect.signature(tune).parameters) == {
        "adapter", "train", "validation", "grid", "fixed", "guard", "fits",
    }  # fmt: skip


def test_the_whole_curve_is_kept_and_its_best_point_is_chosen(digits):
    found = tuned(GDA, digits)
    assert found.curve["alpha"].tolist() == [1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100]
    assert found.chosen == {"alpha": found.curve["alpha"][found.curve["validation_accuracy"].idxmax()]}
    assert found.validation_accuracy == found.curve["validation_accuracy"].max()
    assert found.adapter.get_params()["alpha"] == found.chosen["alpha"]
    assert found.validation_accuracy > found.zero_shot_accuracy
    assert not found.kept_zero_shot
    assert found.why.startswith("best of 7 points")


def test_each_point_of_the_curve_is_the_accuracy_of_that_adapter(digits):
    found = tuned(GDA, digits)
    (train, labels), (validation, truth) = digits.complete(0, 200), digits.complete(200, 500)
    for alpha, accuracy in zip(found.curve["alpha"], found.curve["validation_accuracy"], strict=True):
        assert np.mean(GDA(alpha=alpha).fit(train, labels).predict(validation) == truth) == accuracy


@pytest.mark.parametrize("kind", [GDA, LinearProbe])
def test_fits_that_are_handed_in_again_are_not_made_again_and_change_nothing(digits, monkeypatch, kind):
    fits, made, learn = {}, [], kind._learn
    monkeypatch.setattr(kind, "_learn", lambda self, *given: (made.append(self.get_params()), learn(self, *given))[1])
    first = tuned(kind, digits, fits=fits)
    once = len(made)
    again = tuned(kind, digits, fits=fits)
    assert len(made) == once == len(fits)
    assert again.chosen == first.chosen
    assert again.curve.equals(first.curve)
    assert again.adapter is not first.adapter
    assert again.adapter.get_params() == first.adapter.get_params()


def test_the_first_of_equal_points_wins(digits):
    found = tuned(GDA, digits, grid=Grid(parameters={"alpha": (10.0, 10.0001, 9.9999)}), guard=False)
    assert found.curve["validation_accuracy"].nunique() == 1
    assert found.chosen == {"alpha": 10.0}


def test_early_and_late_parameters_make_a_product_with_one_fit_per_early_value(digits, monkeypatch):
    fits = []
    learn = GDA._learn
    monkeypatch.setattr(GDA, "_learn", lambda self, *a: (fits.append(self.precision_scale), learn(self, *a))[1])
    grid = Grid(parameters={"precision_scale": ("published", "rows"), "alpha": (1.0, 10.0)})
    found = tuned(GDA, digits, grid=grid)
    assert fits == ["published", "rows"]
    assert found.curve[["precision_scale", "alpha"]].to_numpy().tolist() == [
        ["published", 1.0], ["published", 10.0], ["rows", 1.0], ["rows", 10.0],
    ]  # fmt: skip
    assert {name: found.adapter.get_params()[name] for name in found.chosen} == found.chosen


def test_the_probes_search_is_the_grid_and_then_a_binary_search_around_its_peak(digits):
    found = tuned(LinearProbe, digits)
    grid, bisection = (found.curve[found.curve["stage"] == stage] for stage in ("grid", "bisect"))
    assert grid["C"].tolist() == [1e6, 1e4, 1e2, 1, 1e-2, 1e-4, 1e-6]
    peak = grid["C"][grid["validation_accuracy"].idxmax()]
    assert np.log10(bisection["C"].iloc[:2]).tolist() == pytest.approx([np.log10(peak) - 1, np.log10(peak) + 1])
    assert len(bisection) == 2 + 7
    accuracy = dict(zip(bisection["C"], bisection["validation_accuracy"], strict=True))
    low, high = bisection["C"].iloc[0], bisection["C"].iloc[1]
    for tried in bisection["C"].iloc[2:]:
        low, high = (tried, high) if accuracy[low] < accuracy[high] else (low, tried)
        assert low < high
    assert found.validation_accuracy == found.curve["validation_accuracy"].max()


def test_the_guard_keeps_zero_shot_where_validation_shows_no_gain(digits):
    train, labels = digits.part(0, 200)
    validation, truth = digits.part(200, 500)
    wrong, validation = labelled(train, (labels + 1) % 10), labelled(validation, truth)
    for kind in (GDA, LinearProbe):
        kept = tune(kind, train=wrong, validation=validation)
        assert kept.kept_zero_shot
        assert isinstance(kept.adapter, kind if kind.chosen_by else ZeroShot)
        assert kept.chosen == {}
        assert kept.validation_accuracy == kept.zero_shot_accuracy >= kept.best_accuracy
        assert kept.why.startswith("zero-shot kept: best point")
        assert len(kept.curve) >= 7
        free = tune(kind, train=wrong, validation=validation, guard=False)
        assert isinstance(free.adapter, kind)
        assert not free.kept_zero_shot


@pytest.mark.parametrize("guard", [False, True])
def test_a_method_that_never_was_one_says_so_even_where_zero_shot_is_kept(digits, guard):
    train, labels = digits.part(0, 200)
    validation, truth = digits.part(200, 500)
    found = tune(
        GDA,
        train=labelled(train, labels).rows(slice(0)),
        validation=labelled(validation, truth),
        guard=guard,
    )  # fmt: skip
    assert found.adapter.fallback_ == "zero-shot: no support rows"
    assert found.kept_zero_shot == guard


def test_a_method_that_ran_and_lost_leaves_no_words_of_a_fallback(digits):
    kept = tuned(GDA, digits, grid=Grid(parameters={"alpha": (0.0,)}))
    assert (kept.kept_zero_shot, kept.adapter.fallback_) == (True, "")


def test_an_equal_accuracy_is_no_gain(digits):
    kept = tuned(GDA, digits, grid=Grid(parameters={"alpha": (0.0,)}))
    assert kept.best_accuracy == kept.zero_shot_accuracy
    assert kept.kept_zero_shot


def test_zero_shot_has_nothing_to_choose(digits):
    found = tuned(ZeroShot, digits)
    assert (found.chosen, found.kept_zero_shot, len(found.curve)) == ({}, False, 1)
    assert found.why.startswith("nothing to choose")


@pytest.mark.parametrize("kind", ADAPTERS.values())
def test_no_validation_rows_choose_nothing(digits, kind):
    kept = tuned(kind, digits, val=slice(0, 0))
    assert isinstance(kept.adapter, kind if kind.chosen_by else ZeroShot)
    assert np.isnan(kept.validation_accuracy)
    free = tuned(kind, digits, val=slice(0, 0), guard=False)
    assert isinstance(free.adapter, kind)
    assert free.adapter.get_params() == kind().get_params()
    assert len(free.curve) == 1


@pytest.mark.parametrize("kind", [kind for kind in ADAPTERS.values() if kind.learns_from in ((), ("support",))])
def test_no_train_rows_keep_zero_shot(digits, kind):
    found = tuned(kind, digits, train=slice(0, 0))
    assert isinstance(found.adapter, ZeroShot)
    assert found.validation_accuracy == found.zero_shot_accuracy


def test_fixed_parameters_are_set_and_not_searched(digits):
    found = tuned(GDA, digits, fixed={"precision_scale": "published", "logit_scale": 50.0}, guard=False)
    assert found.adapter.get_params()["precision_scale"] == "published"
    assert found.adapter.get_params()["logit_scale"] == 50.0
    assert set(found.chosen) == {"alpha"}


def test_bad_grids_and_labels_are_refused(digits):
    with pytest.raises(ParameterError, match="got `beta`"):
        tuned(GDA, digits, grid=Grid(parameters={"beta": (1.0,)}))
    with pytest.raises(ParameterError, match="`grid` must hold at least one value per parameter"):
        tuned(GDA, digits, grid=Grid(parameters={"alpha": ()}), guard=False)
    with pytest.raises(InvalidFeaturesError, match="lie in 0 to 9; got 10"):
        tune(
            GDA,
            train=labelled(*digits.part(0, 20)),
            validation=labelled(digits.part(20, 21)[0], np.array([10])),
        )


@dataclass(kw_only=True, eq=False)
class Hill(ZeroShot):
    """Counts that fall with the distance from a peak, so that a search can be judged by where it ends."""

    decided_late: ClassVar[tuple[str, ...]] = ("b", "c")
    fits: ClassVar[list[int]] = []
    a: int = 0
    b: int = 0
    c: int = 0

    def _learn(self, features, labels):  # noqa: ARG002 - the contract names them
        self.fits.append(self.a)

    def correct_counts(self, features, labels, points, **_):  # noqa: ARG002 - the contract names them
        places = np.array([[{**self.get_params(), **point}[name] for name in "abc"] for point in points])
        return np.maximum(300 - np.abs(places - [7, 153, 88]).sum(axis=1), 0)


def test_a_grid_of_millions_is_searched_coarse_to_fine(digits):
    Hill.fits.clear()
    grid = Grid(parameters={"a": range(11), "b": range(1000), "c": range(200)})
    found = tuned(Hill, digits, grid=grid, guard=False)
    assert found.chosen == {"a": 7, "b": 153, "c": 88}
    assert len(found.curve) < 2 * FULL_GRID
    assert found.curve["stage"].unique().tolist() == ["grid", "refine"]
    assert not found.curve.duplicated(["a", "b", "c"]).any()
    assert len(Hill.fits) < 100


def test_a_grid_that_fits_is_tried_whole_in_its_own_order(digits):
    grid = Grid(parameters={"b": range(40), "a": range(3), "c": range(40)})
    found = tuned(Hill, digits, grid=grid, guard=False)
    expected = [(a, b, c) for a in range(3) for b in range(40) for c in range(40)]
    assert list(found.curve[["a", "b", "c"]].itertuples(index=False, name=None)) == expected


def test_counting_in_chunks_of_rows_changes_no_count(digits):
    (train, labels), (validation, truth) = digits.part(0, 200), digits.part(200, 500)
    adapter = GDA().fit(train, labels)
    points = [{"alpha": alpha} for alpha in (0.1, 1.0, 10.0)]
    whole = adapter.correct_counts(validation, truth, points)
    assert np.array_equal(whole, adapter.correct_counts(validation, truth, points, chunk_rows=7))
    assert whole.tolist() == [
        np.count_nonzero(GDA(**p).fit(train, labels).predict(validation) == truth) for p in points
    ]
