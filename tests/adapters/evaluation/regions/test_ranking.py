"""Average precision held to COCO's own code and scikit-learn's, and recall of regions and texts."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import average_precision_score

from evenly.adapters.evaluation.regions.ranking import (
    answer_ranks,
    attribute_measure,
    detection_measure,
    matched_regions,
    ranks_in_pictures,
    recall_measure,
    region_counts,
)
from tests.adapters.evaluation.regions.world import NAMES, SIZE, class_values, decoded, regions, shaken

N = 12


def coco_lines(rows, size=SIZE):
    for number, (x0, y0, x1, y1) in enumerate(rows.boxes):
        yield {
            "id": number + 1, "image_id": int(rows.picture[number]) + 1, "iscrowd": 0,
            "category_id": NAMES.index(rows.labels[number]) + 1, "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0), "score": float(rows.scores[number]),
            "segmentation": {"size": list(size), "counts": str(rows.masks[number])},
        }  # fmt: skip


def coco_precisions(detected, truth, kind):
    """COCO's average precision at an overlap of .5 of each class, by its own code."""
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = {
            "info": {},
            "images": [{"id": number + 1, "height": SIZE[0], "width": SIZE[1]} for number in range(N)],
            "categories": [{"id": number + 1, "name": name} for number, name in enumerate(NAMES)],
            "annotations": list(coco_lines(truth)),
        }
        reference.createIndex()
        lines = [{k: v for k, v in line.items() if k != ("bbox" if kind == "segm" else "segmentation")}
                 for line in coco_lines(detected)]  # fmt: skip
        judge = COCOeval(reference, reference.loadRes(lines), kind)
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][0, :, :, 0, -1]
    return np.where(precision[0] < 0, np.nan, precision.mean(axis=0))


def precisions(detected, truth, **options):
    matches = matched_regions(detected, truth, **options)
    return class_values(detection_measure(detected, truth, matches, n_pictures=N, classes=NAMES), n=N)


@pytest.mark.parametrize(("kind", "decode"), [("bbox", None), ("segm", decoded)])
@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_that_of_coco(kind, decode, seed):
    truth = regions(seed=seed)
    if seed == 3:  # a class that truth lacks
        truth = truth.chosen(truth.labels != "car")
    detected = shaken(truth, seed=seed + 10)
    result = precisions(detected, truth, decode=decode)
    assert result == pytest.approx(coco_precisions(detected, truth, kind), abs=1e-9, nan_ok=True)
    assert np.isnan(result).sum() == (seed == 3)
    assert 0 < np.nanmin(result) < np.nanmax(result) < 1


def test_a_region_is_matched_with_what_it_overlaps_most_and_each_once():
    truth = regions()
    shifted = replace(truth, boxes=truth.boxes + 0.1).chosen(np.argsort(-truth.scores))
    assert matched_regions(shifted, truth).tolist() == np.argsort(-truth.scores).tolist()
    doubled = shifted.chosen(np.repeat(np.arange(len(truth.picture)), 2))
    assert (matched_regions(doubled, truth) >= 0).sum() == len(truth.picture)


def test_perfect_regions_have_a_precision_of_1_and_none_0():
    truth = regions()
    assert precisions(truth, truth).tolist() == [1, 1, 1]
    assert precisions(truth, truth, decode=decoded).tolist() == [1, 1, 1]
    assert precisions(truth.chosen(slice(0)), truth).tolist() == [0, 0, 0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_order_of_regions_changes_nothing(seed):
    truth = regions(seed=seed)
    detected = shaken(truth, seed=seed + 1)
    generator = np.random.default_rng(seed)
    repeated = [rows.chosen(generator.permutation(len(rows.picture))) for rows in (detected, truth)]
    assert precisions(*repeated) == pytest.approx(precisions(detected, truth), abs=1e-12)


def test_precision_is_resampled_with_its_pictures():
    truth = regions(seed=5)
    detected = shaken(truth, seed=6)
    weights = np.array([[2.0, 0, 1, 1, 3, 0, 0, 1, 1, 1, 2, 0]])
    measure = detection_measure(detected, truth, matched_regions(detected, truth), n_pictures=N, classes=NAMES)
    copies = np.repeat(np.arange(N), weights[0].astype(int))

    def resampled(rows):
        parts = [np.flatnonzero(rows.picture == picture) for picture in copies]
        chosen = rows.chosen(np.concatenate(parts))
        chosen.picture[:] = np.repeat(np.arange(N), [len(part) for part in parts])
        return chosen

    assert measure(weights)[0] == pytest.approx(precisions(resampled(detected), resampled(truth)), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_attributes_have_the_average_precision_of_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    scores, positives = generator.integers(0, 6, (30, 4)) / 5.0, generator.random((30, 4)) < 0.3
    judged = generator.random((30, 4)) < 0.7
    positives[:, 3] &= ~judged[:, 3]
    result = class_values(attribute_measure(scores, positives, judged), n=30)
    for column in range(3):
        kept = judged[:, column]
        if positives[kept, column].any():
            assert result[column] == pytest.approx(
                average_precision_score(positives[kept, column], scores[kept, column])
            )
    assert np.isnan(result[3])
    weights = generator.integers(0, 3, 30)
    if (positives & judged)[:, 0] @ weights:
        repeated = average_precision_score(positives[:, 0], scores[:, 0], sample_weight=weights * judged[:, 0])
        assert attribute_measure(scores, positives, judged)(weights[None].astype(float))[0, 0] == pytest.approx(
            repeated
        )


def test_attributes_of_no_regions_are_absent():
    assert np.isnan(
        class_values(attribute_measure(np.zeros((5, 2)), np.zeros((5, 2), bool), np.zeros((5, 2), bool)), n=5)
    ).all()
    assert np.isnan(class_values(attribute_measure(np.zeros((0, 2)), np.zeros((0, 2), bool)), n=0)).all()


def test_answers_are_ranked_and_equal_scores_count_against_them():
    scores = np.array([[0.9, 0.5, 0.1], [0.5, 0.5, 0.5], [0.3, 0.2, 0.9], [1, 1, 1]])
    belongs = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
    assert answer_ranks(scores, belongs).tolist() == [1, 3, 2, 0]
    assert answer_ranks(scores, belongs, np.array([[0, 1, 1]] + [[1, 1, 0]] * 3, bool)).tolist() == [0, 2, 1, 0]
    ranks = answer_ranks(scores, belongs)
    assert class_values(recall_measure(ranks), n=4)[0] == pytest.approx(1 / 3)
    assert class_values(recall_measure(ranks, 2), n=4)[0] == pytest.approx(2 / 3)


def test_texts_find_their_region_in_its_picture():
    picture = np.array([4, 4, 4, 9, 9, 7])
    labels = np.array([0, 1, 1, 2, 2, 0])  # picture 9 shows one thing alone, 7 one region
    scores = np.array([[0.2, 0.9, 0], [0.3, 0.5, 0], [0.1, 0.8, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0]])
    ranks, of_region = ranks_in_pictures(scores, labels, picture)
    assert (ranks.tolist(), of_region.tolist()) == ([2, 2], [0, 1])
    order = np.array([3, 2, 5, 0, 4, 1])
    repeated, of_order = ranks_in_pictures(scores[order], labels[order], picture[order])
    assert dict(zip(labels[order][of_order], repeated, strict=True)) == {0: 2, 1: 2}


def test_random_scores_find_by_chance():
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 20, 4000)
    ranks = answer_ranks(generator.random((4000, 20)), labels[:, None] == np.arange(20))
    for k in (1, 5):
        assert class_values(recall_measure(ranks, k), n=4000)[0] == pytest.approx(k / 20, abs=0.02)


def test_regions_are_counted_by_name():
    counts = region_counts(np.array([0, 0, 2]), np.array(["car", "car", "bird"]), n_pictures=3, names=NAMES)
    assert counts.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
