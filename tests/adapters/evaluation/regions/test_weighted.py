"""Areas, ratios and means of measures that depend on the weights of rows."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evenly.adapters.evaluation.regions import weighted
from evenly.adapters.evaluation.regions.weighted import area_measure, class_mean, ratio_measure
from tests.adapters.evaluation.regions.world import class_values

GENERATOR = np.random.default_rng(4)


def test_the_area_over_pixels_is_that_of_scikit_learn_also_where_pictures_weigh_more(monkeypatch):
    scores = [GENERATOR.integers(0, 50, (6, 5 + row)) / 7 for row in range(4)]
    positive = [GENERATOR.random(of_row.shape) < 0.2 for of_row in scores]
    flat, truth = (np.concatenate([np.ravel(of_row) for of_row in arrays]) for arrays in (scores, positive))
    assert class_values(area_measure(scores, positive), n=4)[0] == pytest.approx(roc_auc_score(truth, flat), abs=1e-12)
    weights = np.array([[3.0, 0, 1, 2]])
    of_pixels = np.repeat(weights[0], [of_row.size for of_row in scores])
    want = roc_auc_score(truth, flat, sample_weight=of_pixels)
    assert area_measure(scores, positive)(weights)[0, 0] == pytest.approx(want, abs=1e-12)
    monkeypatch.setattr(weighted, "BINS", 40)
    assert area_measure(scores, positive)(weights)[0, 0] == pytest.approx(want, abs=0.02)


def test_pictures_of_one_kind_have_no_area_and_equal_scores_half_of_it():
    assert np.isnan(class_values(area_measure([1.0, 2.0], [True, True]), n=2)[0])
    assert class_values(area_measure([1.0, 1.0], [True, False]), n=2)[0] == 0.5


def test_classes_that_a_resample_lacks_are_left_out_of_its_mean():
    measure = ratio_measure([[1.0, 0], [0, 0], [0, 1]], [[1.0, 0], [1, 0], [0, 2]])
    weights = np.array([[1.0, 1, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert class_mean(measure, weights) == pytest.approx([0.5, 0.5, 0.5, np.nan], nan_ok=True)
    assert np.isnan(measure(weights)).tolist() == [[False, False], [False, True], [True, False], [True, True]]
