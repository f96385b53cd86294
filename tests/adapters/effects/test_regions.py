"""Claims on regions: methods against baselines of a ground by their names, and their table with intervals."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from evenly.adapters.effects import CLAIMS, NotMeasurableError
from evenly.adapters.effects.effect import effect_of
from evenly.adapters.effects.ground import MethodAnswer, permuted_test, unit
from evenly.adapters.effects.page import claim_of
from evenly.adapters.effects.region_boxes import detecting, false_boxes
from evenly.adapters.effects.region_claims import CROP_AND_MAP, MAP_BOXES, MASKED_CROP, PLAIN_CROP, ROW_BOXES
from evenly.adapters.effects.regions import (
    CELLS,
    CHANCE,
    PICTURE,
    STEP,
    baseline_table,
    classes_shown,
    colouring,
    naming,
    numbering,
    outlining,
    segmenting,
    spotting,
    tagging,
    true_maps,
)
from evenly.adapters.evaluation.measures.bootstrap import paired_bootstrap
from evenly.adapters.evaluation.regions.weighted import ratio_measure
from evenly.features.dense.regions import Regions
from evenly.features.errors import UnknownModelError
from evenly.tasks.adapters.region_methods import region_answers
from tests.adapters.effects.world import parts_of, word, world

WORLD = world()
REGIONS = WORLD.regions()
TRUTH = REGIONS.truth
CROWDED = TRUTH.crowded("test")
NAMES = np.array(WORLD.classes)


def with_answers(**values):
    answers = {name: partial(MethodAnswer, values=value, chosen={"threshold": 0.5}) for name, value in values.items()}
    return replace(WORLD, regions=lambda: replace(REGIONS, answers=answers))


def judged(compare, ground):
    return effect_of([compare(ground, 1).comparison], seed=1)


def layers():
    return [np.stack([one == number + 1 for number in range(len(NAMES))]) * 1.0
            for one in true_maps(TRUTH, NAMES, CROWDED, step=STEP)]  # fmt: skip


def test_scores_of_regions_of_crowded_pictures_are_judged_against_chance():
    own_class = (TRUTH.kinds[TRUTH.rows_of(CROWDED), None] == NAMES).astype(float)
    ground = with_answers(oracle=own_class, nothing=0 * own_class)
    subset = lambda _ground, truth, rows: truth.codes[rows] != "test lamp 0"  # noqa: E731
    effect = judged(naming(subset=subset, method="oracle", rival=CHANCE, control="nothing"), ground)
    assert effect.value == 1
    assert effect.rival_value == pytest.approx(1 / len(NAMES), abs=0.1)
    assert effect.control_gain.estimate == pytest.approx(-effect.rival_value)  # equal scores count against
    assert effect.n_groups == len(set(TRUTH.codes[TRUTH.rows_of(CROWDED)])) - 1
    of_all = judged(naming(method="oracle", rival=CHANCE), ground)
    assert of_all.value < 1, "regions that no answer is about are wrong"


def test_layers_are_judged_at_one_of_four_lines_and_columns_of_crowded_pictures():
    with_background = [np.concatenate([one.max(axis=0, keepdims=True) == 0, one]) for one in layers()]
    ground = with_answers(oracle=layers, whole=lambda: with_background, nothing=lambda: [0 * one for one in layers()])
    assert judged(segmenting(crowded=True, method="oracle", rival=PICTURE), ground).value == 1
    assert judged(segmenting(crowded=True, background=True, method="whole", rival="oracle"), ground).gain.low > 0
    assert judged(outlining(method="oracle", rival="nothing"), ground).gain.estimate == 1


def test_colours_of_regions_are_judged_where_one_is_known():
    rows, names = TRUTH.rows_of(CROWDED), np.array(TRUTH.colour_names, object)
    has = (TRUTH.colours[rows, None] == names) * 1.0
    unknown = TRUTH.codes[rows] == "test lamp 0"
    wrong = np.where(unknown[:, None], 1 - has, has)
    colours = np.where(TRUTH.codes == "test lamp 0", "", TRUTH.colours)
    ground = with_answers(oracle=wrong, nothing=0 * has)
    partly = replace(ground, regions=lambda: replace(ground.regions(), truth=replace(TRUTH, colours=colours)))
    effect = judged(colouring(method="oracle", rival="nothing"), partly)
    assert effect.value == 1 > effect.rival_value
    assert effect.n_groups == len(set(TRUTH.codes[rows])) - 1
    assert judged(colouring(method="oracle", rival="nothing"), ground).value < 1


def test_boxes_that_match_no_object_of_their_class_count_against_a_method():
    rows = TRUTH.rows_of(CROWDED)
    columns = (np.searchsorted(CROWDED, TRUTH.picture[rows]), TRUTH.boxes[rows], TRUTH.kinds[rows])
    entries = [
        {"picture": picture, "box": box, "label": kind, "score": 0.9}
        for picture, box, kind in zip(*columns, strict=True)
    ]
    elsewhere = [entry | {"box": (18, 0, 21, 2), "score": 0.5} for entry in entries if entry["picture"] % 2]
    right, more = Regions.from_rows(entries), Regions.concatenated(list(map(Regions.from_rows, (entries, elsewhere))))
    effect = judged(false_boxes(method="right", rival="more"), with_answers(right=right, more=more))
    assert (effect.value, effect.rival_value) == (0, -len(elsewhere) / len(CROWDED))
    judges = (detecting(method="right", rival="more"), detecting(unseen=True, method="right", rival=CELLS))
    for judge in judges:
        assert judged(judge, with_answers(right=right, more=more)).value == pytest.approx(1)
    answers = region_answers(parts_of(TRUTH))
    plain, learned = (answers[name]() for name in (MAP_BOXES, ROW_BOXES))
    assert plain.chosen["recall on val"] == learned.chosen["recall on val"] > 0
    assert min(plain.values.scores) >= plain.chosen["threshold"]


def test_tags_of_pictures_are_judged_where_these_show_two_classes():
    shown = classes_shown(TRUTH, NAMES, CROWDED)
    assert set(shown.sum(axis=1)) == {1, 2}
    ground = with_answers(oracle=shown * 1.0, first=np.tile(-np.arange(len(NAMES)), (len(shown), 1)))
    effect = judged(tagging(least=2, method="oracle", rival="first"), ground)
    assert effect.value == 1 > effect.rival_value
    assert effect.n_groups == len(set(TRUTH.groups[CROWDED[shown.sum(axis=1) == 2]]))


def test_counts_of_things_that_are_there_are_judged_by_their_errors():
    counts = np.stack([np.bincount(TRUTH.picture[TRUTH.kinds == name], minlength=len(TRUTH.sizes)) for name in NAMES])
    true = counts.T[CROWDED]
    ground = with_answers(oracle=np.where(true, true, 9), one_more=true + 1.0, mixed=true + 2.0 * (true == 1))
    assert judged(numbering(method="oracle", rival="one_more"), ground).gain.estimate == 1
    share = (true == 1).sum() / (true > 0).sum()
    for squared, error in ((False, 2 * share), (True, (4 * share) ** 0.5)):
        effect = judged(numbering(squared=squared, method="one_more", rival="mixed"), ground)
        assert (effect.value, effect.rival_value) == pytest.approx((-1, -error))
    assert effect.n_groups == len(set(TRUTH.groups[CROWDED]))
    total = true.sum(axis=1, keepdims=True)
    of_all = judged(numbering(method="all", rival="fewer"), with_answers(all=total, fewer=total - 0.5))
    assert (of_all.value, of_all.rival_value) == (0, -0.5)


def test_defects_are_judged_on_pictures_and_on_pixels_and_are_learned():
    masks = list(TRUTH.defect_masks(CROWDED, step=STEP))
    damaged = np.array([mask.any() for mask in masks])
    assert damaged.mean() == pytest.approx(0.5, abs=0.2)
    right = (damaged * 1.0, lambda: (mask[None] * 1.0 for mask in masks))
    wrong = (0 * damaged, lambda: (1.0 - mask[None] for mask in masks))
    ground = with_answers(oracle=right, nothing=wrong)
    for pixels, worst in ((False, 0.5), (True, 0)):
        effect = judged(spotting(pixels=pixels, method="oracle", rival="nothing"), ground)
        assert (effect.value, effect.rival_value) == (1, worst)
        assert effect.n_groups == len(set(TRUTH.groups[CROWDED]))
    parts = parts_of(TRUTH)
    parts = replace(parts, fit=damaged_cells(parts.fit), val=damaged_cells(parts.val), test=damaged_cells(parts.test))
    answers = region_answers(parts)
    ground = replace(WORLD, regions=lambda: replace(REGIONS, answers=answers))
    for claim in (claim for claim in CLAIMS if claim.system == "Bayes-PFL" and claim.rival.startswith("texts")):
        assert judged(claim.compare, ground).over_control.low > 0, claim_of(vars(claim))
        assert judged(claim.compare, permuted_test(ground, seed=1)).over_control.low <= 0, claim_of(vars(claim))


def damaged_cells(part):
    """The part with a cell that says so in the picture of each defect."""
    dense = part.encode()
    for place in np.flatnonzero(np.isin(part.places, TRUTH.defects)):
        dense.cells[place, 0, part.places[place] % 3] = unit(word("damage")[None])
    return replace(part, encode=lambda: dense)


@pytest.mark.parametrize("system", ["CLOC", "OVSeg", "GRAIN", "ReCo", "ComCLIP"])
def test_with_the_things_of_other_places_no_method_gains(system):
    for claim in (one for one in CLAIMS if one.system == system):
        effect = judged(claim.compare, permuted_test(WORLD, seed=1))
        assert effect.gain.low <= 0, claim_of(vars(claim))


def test_a_method_is_asked_once_for_all_of_its_answers():
    parts, rules = parts_of(TRUTH), []
    crop = lambda regions, rule: (rules.append(rule), parts.test.crop(regions, rule))[1]  # noqa: E731
    answers = region_answers(replace(parts, test=replace(parts.test, crop=crop)))
    for name in (PLAIN_CROP, MASKED_CROP, CROP_AND_MAP) * 2:
        answers[name]()
    assert [rule.masked for rule in rules] == [False, True]


def test_an_encoder_without_rows_of_cells_is_named_as_the_reason():
    def encode():
        raise UnknownModelError("`model` must have rows of cells; got `flat`")

    parts = replace(parts_of(TRUTH), test=replace(parts_of(TRUTH).test, encode=encode))
    ground = replace(WORLD, regions=lambda: replace(REGIONS, answers=region_answers(parts)))
    with pytest.raises(NotMeasurableError, match="must have rows of cells; got `flat`"):
        next(claim for claim in CLAIMS if claim.system == "DenseCLIP").compare(ground, 1)


def test_cells_of_truth_bound_a_map_whose_objects_do_not_fill_them():
    assert 0.5 < judged(segmenting(background=True, method=CELLS, rival=CHANCE), WORLD).value < 1
    assert 0.9 < judged(segmenting(method=CELLS, rival=CHANCE), WORLD).value < 1, "few cells show two objects"


@pytest.mark.parametrize("compare", [naming, segmenting])
def test_a_ground_without_a_method_or_without_regions_says_so(compare):
    with pytest.raises(NotMeasurableError, match="no regions by `another` were computed"):
        compare(method="another", rival=CHANCE)(WORLD, 1)
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
