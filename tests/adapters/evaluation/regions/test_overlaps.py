"""Overlaps of boxes, masks and label maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco
from sklearn.metrics import jaccard_score

from evenly.adapters.errors import InvalidFeaturesError
from evenly.adapters.evaluation.regions.overlaps import box_overlaps, map_overlaps, mask_overlaps
from evenly.adapters.evaluation.regions.weighted import ratio_measure
from tests.adapters.evaluation.regions.world import SIZE, boxes_in, class_values, filled, rle

GENERATOR = np.random.default_rng(3)


@given(st.integers(0, 10_000))
def test_overlaps_of_boxes_are_symmetric_between_0_and_1_and_those_of_coco(seed):
    generator = np.random.default_rng(seed)
    first, second = boxes_in(4, generator), boxes_in(3, generator)
    result = box_overlaps(first, second)
    assert result == pytest.approx(box_overlaps(second, first).T)
    wide = [np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1) for boxes in (first, second)]
    assert result == pytest.approx(coco.iou(*wide, [0] * 3), abs=1e-12)
    assert np.diag(box_overlaps(first, first)) == pytest.approx(1)


def test_a_box_without_an_area_overlaps_nothing():
    empty = np.array([[3.0, 3, 3, 9], [9, 9, 2, 2]])
    assert not box_overlaps(empty, np.concatenate([empty, [[0, 0, 20, 20]]])).any()


def test_overlaps_of_masks_are_those_of_coco_and_an_empty_mask_has_none():
    masks = np.stack([filled(box) for box in boxes_in(5, GENERATOR)])
    masks[4] = False
    lengths = [{"size": list(SIZE), "counts": rle(mask).encode()} for mask in masks]
    assert mask_overlaps(masks, masks[2:]) == pytest.approx(coco.iou(lengths, lengths[2:], [0] * 3), abs=1e-12)
    assert not mask_overlaps(masks, masks)[4].any()


@pytest.mark.parametrize("background", [True, False])
def test_miou_is_the_mean_of_the_jaccard_index_of_all_pixels(background):
    truth, ours = GENERATOR.integers(0, 4, (2, 6, 9, 7))
    result = class_values(ratio_measure(*map_overlaps(ours, truth, n_classes=5, background=background)), n=6)
    judged = np.ones(truth.shape, bool) if background else truth > 0
    want = jaccard_score(truth[judged], ours[judged], labels=range(0 if background else 1, 4), average=None)
    assert result == pytest.approx([*want, np.nan, np.nan], nan_ok=True)


def test_a_class_that_truth_lacks_is_absent_though_it_is_predicted():
    truth, ours = np.ones((1, 4, 4), int), np.full((1, 4, 4), 2)
    result = class_values(ratio_measure(*map_overlaps(ours, truth, n_classes=2, background=True)), n=1)
    assert np.isnan(result).tolist() == [True, False, True]
    assert result[1] == 0


def test_miou_is_resampled_as_sums_of_pixels():
    sizes = [(2, 2), (20, 20), (9, 9), (5, 5)]
    truth = [GENERATOR.integers(1, 3, size) for size in sizes]
    ours = [np.where(GENERATOR.random(size) < share, of_truth, 0) for size, share, of_truth in
            zip(sizes, (0.1, 0.9, 0.5, 0.3), truth, strict=True)]  # fmt: skip
    measure = ratio_measure(*map_overlaps(ours, truth, n_classes=2, background=False))
    weights = np.array([[2.0, 0, 1, 1]])
    copied = ratio_measure(
        *map_overlaps([ours[i] for i in (0, 0, 2, 3)], [truth[i] for i in (0, 0, 2, 3)], n_classes=2, background=False)
    )
    assert measure(weights)[0] == pytest.approx(class_values(copied, n=4))


@pytest.mark.parametrize("ours", [np.zeros((3, 4), int), np.full((4, 4), 3), np.full((4, 4), -1)])
def test_maps_of_another_shape_or_number_are_refused(ours):
    with pytest.raises(InvalidFeaturesError, match="Enlarge the map to its picture"):
        map_overlaps([ours], [np.ones((4, 4), int)], n_classes=2, background=True)
