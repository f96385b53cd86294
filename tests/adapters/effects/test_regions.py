"""Claims on regions: methods against baselines of a ground by their names, and their table with intervals."""

from dataclasses import replace

import numpy as np
import pytest

from evenly.adapters.effects import NotMeasurableError
from evenly.adapters.effects.effect import effect_of
from evenly.adapters.effects.regions import CELLS, CHANCE, PICTURE, baseline_table, naming, segmenting
from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.adapters.evaluation.regions.weighted import ratio_measure
from tests.adapters.effects.world import world

WORLD = world()
REGIONS = WORLD.regions()
THINGS = replace(REGIONS.truth, labels=REGIONS.truth.kinds)


def with_methods(**further):
    return replace(WORLD, regions=lambda: replace(REGIONS, **further))


def own_class(classes):
    return (REGIONS.truth.kinds[:, None] == np.array(classes)).astype(float)


def test_a_method_is_judged_by_its_scores_of_true_regions_against_chance():
    ground = with_methods(scores={"oracle": own_class, "nothing": lambda classes: 0 * own_class(classes)})
    effect = effect_of([naming(method="oracle", rival=CHANCE, control="nothing")(ground, 1).comparison], seed=1)
    assert effect.value == 1
    assert effect.rival_value == pytest.approx(1 / len(WORLD.classes), abs=0.1)
    assert effect.control_gain.estimate == pytest.approx(-effect.rival_value)  # equal scores count against
    assert effect.n_groups == len(set(WORLD.column("code", WORLD.where("test"))))


def test_a_method_is_judged_by_its_regions_on_the_pixels_of_test_pictures():
    ground = with_methods(outputs={"oracle": lambda: THINGS})
    for background in (True, False):
        effect = effect_of(
            [segmenting(background=background, method="oracle", rival=PICTURE)(ground, 1).comparison], seed=1
        )
        assert effect.value == 1
        assert 0 < effect.rival_value < (0.3 if background else 1)


def test_cells_of_truth_bound_a_map_whose_objects_do_not_fill_them():
    comparison = segmenting(background=True, method=CELLS, rival=CHANCE)(WORLD, 1).comparison
    assert 0.5 < effect_of([comparison], seed=1).value < 1


@pytest.mark.parametrize("compare", [naming, segmenting])
def test_a_ground_without_a_method_or_without_regions_says_so(compare):
    with pytest.raises(NotMeasurableError, match="no regions by `masked crop` were computed"):
        compare(method="masked crop", rival=CHANCE)(WORLD, 1)
    with pytest.raises(NotMeasurableError, match="no masks were read"):
        compare(method=PICTURE, rival=CHANCE)(replace(WORLD, regions=None), 1)


def test_a_table_has_the_paired_difference_of_each_baseline_to_the_method():
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(30), 3)
    values = {"ours": generator.random(90) < 0.8, "crop": generator.random(90) < 0.6}
    ours, crop = baseline_table({name: ratio_measure(v, np.ones(90)) for name, v in values.items()}, groups, seed=4)
    assert ours["name"] == "ours"
    assert "difference" not in ours
    gain = paired_bootstrap(values["crop"], values["ours"], seed=4, groups=groups)
    assert [crop[name] for name in ("difference", "difference_low", "difference_high")] == pytest.approx(gain, abs=1e-4)
    assert ours["low"] < ours["value"] == values["ours"].mean() < ours["high"]
    assert (crop["groups"], crop["deciding"] > 1) == (30, True)
